"""Ours: the iterator that users call."""

import time
from typing import Any

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.run import bucket_of

from ..task import SideName, Task, Turn, request_of

__all__ = ["load"]


class EngineSetSide:
    def __init__(self, name: SideName, task: Task) -> None:
        buckets = (bucket_of(request_of(task, 0), None),)
        options = EngineOptions(precision=name.precision, buckets=buckets, **name.options)
        self._pipe = OutpaintPipeline.from_pretrained(task.engines, device=name.device, options=options)
        self._task = task
        engine = self._pipe.models.unet.engine
        self.facts: dict[str, Any] = {
            "backend": engine.backend,
            "device": engine.device,
            "precision": engine.precision,
            "synthetic": self._pipe.models.engine_set.synthetic,
        }

    def run(self, seed: int) -> Turn:
        request = request_of(self._task, seed)
        began = time.perf_counter()
        run = self._pipe.steps(request)
        ends = [time.perf_counter() for _ in run]
        picture = time.perf_counter() - began
        return Turn((ends[-1] - ends[0]) / (len(ends) - 1), picture, run.result.latents)


def load(name: SideName, task: Task) -> EngineSetSide:
    return EngineSetSide(name, task)
