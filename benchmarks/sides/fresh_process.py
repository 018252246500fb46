"""Ours from a fresh process: start, load, one picture; what a command or a cold worker takes."""

from typing import Any

from outpaint_engine import EngineOptions
from outpaint_engine.bench import BenchOptions
from outpaint_engine.bench.starts import fresh_starts

from ..task import SideName, Task, Turn

__all__ = ["load"]


class FreshProcessSide:
    def __init__(self, name: SideName, task: Task) -> None:
        self._options = BenchOptions(
            engines=task.engines,
            device=name.device,
            load=EngineOptions(precision=name.precision, **name.options),
            width=task.width,
            height=task.height,
            scheduler=task.scheduler,
            steps=task.steps,
            guidance_scale=task.guidance_scale,
            starts=1,
        )
        self.facts: dict[str, Any] = {"device": name.device, "precision": name.precision, **name.options}

    def run(self, seed: int) -> Turn:
        """Seconds from the start of the process to the end of its first picture."""
        found = fresh_starts(self._options, lambda done: None)
        assert found is not None
        return Turn(None, found.first_picture.p50)


def load(name: SideName, task: Task) -> FreshProcessSide:
    return FreshProcessSide(name, task)
