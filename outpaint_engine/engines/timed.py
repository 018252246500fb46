"""An engine that keeps how long each call of the one beneath took."""

import time
from collections.abc import Collection, Mapping

from ..tensors import Array
from .base import Engine, EngineDecorator

__all__ = ["TimedEngine"]


class TimedEngine(EngineDecorator):
    """Passes every call on; `seconds` gets one entry a call, also where the call fails."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seconds: list[float] = []

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine beneath; see `Engine.run`."""
        began = time.perf_counter()
        try:
            return self.engine.run(feeds, wanted)
        finally:
            self.seconds.append(time.perf_counter() - began)
