"""ONNX Runtime without any of our code: sessions over an engine set's graphs, fed with random numbers."""

import time
from typing import Any

import numpy as np
import onnxruntime

from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.tensors import Array

from ..task import SideName, Task, Turn

__all__ = ["load"]


class PlainSessionsSide:
    """The calls of one picture, with the library's defaults and the graphs for everybody."""

    def __init__(self, name: SideName, task: Task) -> None:
        settings = onnxruntime.SessionOptions()
        # Weights that only another graph of the set uses are no reason for a warning each.
        settings.log_severity_level = 3
        settings.intra_op_num_threads = int(name.taken(threads=0)["threads"])
        engine_set = EngineSet.open(task.engines, verify=False)
        self._sessions = {
            part: onnxruntime.InferenceSession(
                str(engine_set.folder / engine_set.artifact(part).file), settings, providers=["CPUExecutionProvider"]
            )
            for part in PARTS
        }
        self._task = task
        self.facts: dict[str, Any] = {"device": "cpu", "precision": "as exported", **name.options}

    def run(self, seed: int) -> Turn:
        """Two texts, the encoder, the steps, the decoder; the first step is not counted, as for everybody."""
        draw = np.random.default_rng(seed)
        calls = {"text_encoder": 2, "vae_encoder": 1, "unet": self._task.steps, "vae_decoder": 1}
        taken = {part: [self._call(part, draw) for _ in range(count)] for part, count in calls.items()}
        return Turn(sum(taken["unet"][1:]) / (self._task.steps - 1), sum(map(sum, taken.values())))

    def _call(self, part: str, draw: np.random.Generator) -> float:
        session = self._sessions[part]
        feeds = {value.name: self._random(part, value, draw) for value in session.get_inputs()}
        # The first output alone, as the runtime asks for it.
        wanted = [session.get_outputs()[0].name]
        began = time.perf_counter()
        session.run(wanted, feeds)
        return time.perf_counter() - began

    def _random(self, part: str, value: Any, draw: np.random.Generator) -> Array:
        """Guidance makes two rows of a UNet call; free axes are a picture's sides, latents' sides, or tokens."""
        factor = 1 if part == "vae_encoder" else 8
        sides = [self._task.height // factor, self._task.width // factor]
        rows = 2 if part == "unet" and self._task.guidance_scale > 1 else 1
        if value.name in ("input_ids", "encoder_hidden_states"):
            sides = [77]
        free = iter(sides)
        shape = [rows, *(axis if isinstance(axis, int) else next(free) for axis in value.shape[1:])]
        if value.type == "tensor(int64)":
            return np.ones(shape, np.int64)
        kind = np.float16 if value.type == "tensor(float16)" else np.float32
        return draw.standard_normal(shape).astype(kind)


def load(name: SideName, task: Task) -> PlainSessionsSide:
    """Open the sessions; the option `threads` bounds a call's."""
    return PlainSessionsSide(name, task)
