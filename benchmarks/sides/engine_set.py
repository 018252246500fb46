"""Ours: the iterator that users call."""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.engines.timed import TimedEngine
from outpaint_engine.request import SPEEDS
from outpaint_engine.request.checks import check_one_of
from outpaint_engine.run import bucket_of

from ..task import SideName, Task, Turn, request_of

__all__ = ["load"]


class EngineSetSide:
    def __init__(self, name: SideName, task: Task) -> None:
        buckets = (bucket_of(request_of(task, 0), None),)
        loading = dict(name.options)
        speed = loading.pop("speed", "exact")
        check_one_of("speed", speed, tuple(SPEEDS))
        self._approximation = dict(SPEEDS[speed])
        if "reuse" in loading:
            self._approximation["reuse"] = loading.pop("reuse")
        options = EngineOptions(precision=name.precision, buckets=buckets, **loading)
        self._pipe = OutpaintPipeline.from_pretrained(task.engines, device=name.device, options=options)
        self._task = task
        engine = self._unet = TimedEngine(self._pipe.models.unet.engine)
        self._pipe.models.unet.engine = engine
        self.facts: dict[str, Any] = {
            "backend": engine.backend,
            "device": engine.device,
            "precision": engine.precision,
            "synthetic": self._pipe.models.engine_set.synthetic,
            "approximation": self._approximation,
        }

    def run(self, seed: int) -> Turn:
        request = replace(request_of(self._task, seed), **self._approximation)
        self._unet.seconds.clear()
        began, cpu = time.perf_counter(), time.process_time()
        run = self._pipe.steps(request)
        ends = [time.perf_counter() for _ in run]
        picture, cpu = time.perf_counter() - began, time.process_time() - cpu
        result = run.result
        # A step that is read off the others has no call.
        whole = [step for step, rows in zip(result.timings.steps, result.timings.rows, strict=True) if rows]
        outside = median(step - call for step, call in zip(whole, self._unet.seconds, strict=True))
        painted = np.asarray(result.images[0])[result.plan.unknown == 1]
        return Turn((ends[-1] - ends[0]) / (len(ends) - 1), picture, result.latents, outside, cpu, painted)


def load(name: SideName, task: Task) -> EngineSetSide:
    return EngineSetSide(name, task)
