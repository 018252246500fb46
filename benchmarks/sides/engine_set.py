"""Ours: the iterator that users call."""

import time
from statistics import median
from typing import Any

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.engines.timed import TimedEngine
from outpaint_engine.run import bucket_of

from ..task import SideName, Task, Turn, request_of

__all__ = ["load"]


class EngineSetSide:
    def __init__(self, name: SideName, task: Task) -> None:
        buckets = (bucket_of(request_of(task, 0), None),)
        options = EngineOptions(precision=name.precision, buckets=buckets, **name.options)
        self._pipe = OutpaintPipeline.from_pretrained(task.engines, device=name.device, options=options)
        self._task = task
        engine = self._unet = TimedEngine(self._pipe.models.unet.engine)
        self._pipe.models.unet.engine = engine
        self.facts: dict[str, Any] = {
            "backend": engine.backend,
            "device": engine.device,
            "precision": engine.precision,
            "synthetic": self._pipe.models.engine_set.synthetic,
        }

    def run(self, seed: int) -> Turn:
        request = request_of(self._task, seed)
        self._unet.seconds.clear()
        began = time.perf_counter()
        run = self._pipe.steps(request)
        ends = [time.perf_counter() for _ in run]
        picture = time.perf_counter() - began
        result = run.result
        steps = zip(result.timings.steps, self._unet.seconds, strict=True)
        outside = median(step - call for step, call in steps)
        return Turn((ends[-1] - ends[0]) / (len(ends) - 1), picture, result.latents, outside)


def load(name: SideName, task: Task) -> EngineSetSide:
    return EngineSetSide(name, task)
