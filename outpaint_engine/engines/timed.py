"""An engine that keeps how long each call of the one beneath took."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from ..tensors import Array
from .base import Engine, EngineDecorator
from .bound_calls import BoundCalls

__all__ = ["TimedEngine"]


class TimedEngine(EngineDecorator):
    """Passes every call on; `seconds` gets one entry a call, also where the call fails."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seconds: list[float] = []

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine beneath; see `Engine.run`."""
        return self._timed(lambda: self.engine.run(feeds, wanted))

    def bound_calls(self) -> BoundCalls | None:
        """Those of the engine beneath, whose steps count as calls."""
        beneath = self.engine.bound_calls()
        if beneath is None:
            return None
        step = beneath.step
        return replace(beneath, step=lambda work: self._timed(lambda: step(work)))

    def _timed(self, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds.append(time.perf_counter() - began)
