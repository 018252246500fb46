"""The sides of a comparison, by kind; imported in the environment that the kind needs."""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

from ..task import Contestant, SideName, Task

__all__ = ["KINDS", "Kind", "load"]


class Kind(NamedTuple):
    """A module of this package with a function `load`, and the environment it runs in; empty is the caller's own."""

    module: str
    environment: str
    what: str


KINDS: Mapping[str, Kind] = {
    "ours": Kind("engine_set", "", "outpaint_engine; DEVICE is a backend's name, OPTIONs are those of EngineOptions"),
    "fresh": Kind("fresh_process", "", "ours from a fresh process: start, load, first picture"),
    "onnxruntime": Kind("plain_sessions", "", "ONNX Runtime's own calls of all parts, without a pipeline; threads=1"),
    "diffusers": Kind(
        "torch_pipeline", "", "diffusers' inpaint pipeline on torch; compile=true, channels_last=true, deepcache=N"
    ),
    "optimum": Kind("optimum_pipelines", "optimum", "Optimum's ONNX Runtime inpaint pipeline over our engine set"),
    "optimum-intel": Kind("optimum_pipelines", "openvino", "optimum-intel's OpenVINO inpaint pipeline, static shapes"),
    "openvino": Kind("openvino_graph", "openvino", "OpenVINO driven natively on our UNet graph, without a pipeline"),
}


def load(name: SideName, task: Task) -> Contestant:
    """Load a side, in the environment that its kind needs."""
    loaded: Contestant = import_module(f"{__name__}.{KINDS[name.kind].module}").load(name, task)
    return loaded
