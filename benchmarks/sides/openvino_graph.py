"""OpenVINO driven natively on our UNet graph: nothing but the call, so the floor for whoever uses OpenVINO."""

import time
from pathlib import Path

import numpy as np
import openvino

from ..task import SideName, Task, Turn

__all__ = ["HINTS", "load"]

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVinoGraphSide:
    def __init__(self, name: SideName, task: Task) -> None:
        name.taken()
        core = openvino.Core()
        model = core.read_model(Path(task.engines) / "unet" / "model.onnx")
        shapes = {port.any_name: port.partial_shape for port in model.inputs}
        rows = 2 if task.guidance_scale > 1 else 1
        shapes["sample"] = [rows, shapes["sample"][1].get_length(), task.height // 8, task.width // 8]
        shapes["encoder_hidden_states"] = [rows, 77, shapes["encoder_hidden_states"][2].get_length()]
        shapes["timestep"] = [rows] if len(shapes["timestep"]) else []
        model.reshape(shapes)
        hints = {"INFERENCE_PRECISION_HINT": HINTS[name.precision], "PERFORMANCE_HINT": "LATENCY"}
        compiled = core.compile_model(model, name.device.upper(), hints)
        self._request, self._task = compiled.create_infer_request(), task
        self._types = {port.any_name: port.element_type.to_dtype() for port in model.inputs}
        self._shapes = {key: tuple(shape) for key, shape in shapes.items()}
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.facts = {"device": name.device, "precision": precision}

    def run(self, seed: int) -> Turn:
        draw = np.random.default_rng(seed)
        feeds = {key: draw.standard_normal(shape).astype(self._types[key]) for key, shape in self._shapes.items()}
        ends = []
        for step in range(self._task.steps):
            feeds["timestep"] = np.full(self._shapes["timestep"], 900 - step, self._types["timestep"])
            self._request.infer(feeds)["out_sample"].copy()
            ends.append(time.perf_counter())
        return Turn((ends[-1] - ends[0]) / (len(ends) - 1))


def load(name: SideName, task: Task) -> OpenVinoGraphSide:
    return OpenVinoGraphSide(name, task)
