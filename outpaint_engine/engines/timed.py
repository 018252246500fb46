"""An engine that keeps how long each call of the one beneath took."""

import time
from collections.abc import Collection, Mapping

from ..tensors import Array
from .base import Engine

__all__ = ["TimedEngine"]


class TimedEngine(Engine):
    """Passes every call on; `seconds` gets one entry a call, also where the call fails."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.backend, self.device, self.precision = engine.backend, engine.device, engine.precision
        self.seconds: list[float] = []

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine beneath; see `Engine.run`."""
        began = time.perf_counter()
        try:
            return self.engine.run(feeds, wanted)
        finally:
            self.seconds.append(time.perf_counter() - began)

    def close(self) -> None:
        """Close the engine beneath."""
        self.engine.close()
