"""ONNX Runtime's TensorRT provider: an engine for each shape, built when it is first asked for and kept in the set.

The folder engines/ort-tensorrt/ of the engine set holds what was built, and TensorRT's timing cache. A TensorRT engine
is code that runs on the GPU: use only what was built on your own machine.
"""

import ctypes
import importlib.util
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..engine_set import EngineSet
from ..errors import EngineSetError
from ..tensors import Shapes
from .base import Engine, EngineOptions, Loading, Probe
from .cuda import PROVIDER as CUDA_PROVIDER
from .cuda import CudaBackend, CudaEngine, cuda_options, gpu_session, preload_libraries
from .fixed_shapes import FixedShapesEngine
from .onnx import graph_precision

__all__ = ["OrtTensorRTBackend", "tensorrt_options"]

PROVIDER = "TensorrtExecutionProvider"
LIBRARY = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"
"""The provider in onnxruntime-gpu 1.31 and 1.32 is built against TensorRT 10; 11 does not load."""
FOLDER = "engines/ort-tensorrt"
EXTRA_INDEX = "https://pypi.nvidia.com"


class OrtTensorRTBackend(CudaBackend):
    """TensorRT in front of CUDA, which runs the few nodes that TensorRT does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self._provider = "ort-tensorrt", PROVIDER
        self._remedy += f' "tensorrt-cu13>=10.14,<11" --extra-index-url {EXTRA_INDEX}'

    def _look(self) -> Probe:
        found = super()._look()
        if found.usable and not _tensorrt_loads():
            return Probe(False, found.version, found.device, f"TensorRT 10 ({LIBRARY}) does not load", self._remedy)
        return Probe(found.usable, found.version, found.device, found.reason, found.remedy)

    def suits(self, engine_set: EngineSet, options: EngineOptions) -> bool:
        """Where engines were built already: building them takes minutes, which must have been asked for by name."""
        return super().suits(engine_set, options) and any((engine_set.folder / FOLDER).glob("*.engine"))

    def _open(self, loading: Loading) -> Engine:
        """What is not built yet is built, which takes minutes."""
        preload_libraries()
        return FixedShapesEngine(f"{loading.part} on {self.name}", partial(self._build, loading), loading.shapes)

    def _build(self, loading: Loading, shapes: Shapes | None) -> Engine:
        artifact, path = loading.artifact(self)
        part, options, folder = loading.part, loading.options, loading.engine_set.folder / FOLDER
        _make_folder(folder)
        session, graph = gpu_session(
            path,
            f"{part} on {self.name}",
            options,
            lambda graph: [
                (PROVIDER, tensorrt_options(folder, part, shapes, replace(options, cuda_graph=graph))),
                (CUDA_PROVIDER, cuda_options(graph)),
            ],
        )
        half = options.precision == "fp16" or graph_precision(artifact, session) == "fp16"
        return CudaEngine(session, part, self, "fp16" if half else "fp32", graph=graph)


def tensorrt_options(folder: Path, part: str, shapes: Shapes | None, options: EngineOptions) -> dict[str, str]:
    """The provider's options: both caches in `folder`, and one profile of exactly `shapes`.

    `fp16` is TensorRT 10's weakly typed mode with normalisation kept in float32; a graph that was exported in float16
    needs no flag.
    """
    profile = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes or () if shape)
    sizes = "_".join("x".join(map(str, shape)) for _, shape in shapes or ()) or "free"
    half = str(int(options.precision == "fp16"))
    found = {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": f"{part}_{options.precision}_{sizes}",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": half,
        "trt_layer_norm_fp32_fallback": half,
        "trt_cuda_graph_enable": str(int(options.cuda_graph is not False)),
    }
    if profile:
        found |= {f"trt_profile_{bound}_shapes": profile for bound in ("min", "opt", "max")}
    return found


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineSetError(f"TensorRT engines cannot be kept in {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise EngineSetError(f"TensorRT engines cannot be kept in {folder}: it cannot be written to.")


def _tensorrt_loads() -> bool:
    """Whether TensorRT's library is there; pip's package loads its libraries when it is imported."""
    try:
        if importlib.util.find_spec("tensorrt_libs") is not None:
            importlib.import_module("tensorrt_libs")
        ctypes.CDLL(LIBRARY)
    except (ImportError, OSError):
        return False
    return True
