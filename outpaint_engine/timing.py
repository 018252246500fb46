"""Where a run's time went, by stage and by step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Timings"]


@dataclass
class Timings:
    """Seconds by stage; for each UNet call of the request the seconds in `steps` and its batch rows in `rows`.

    A call in which the UNet was not run whole (`reuse`) has 0 rows.
    """

    stages: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        """Seconds in all stages and steps."""
        return sum(self.stages.values()) + sum(self.steps)
