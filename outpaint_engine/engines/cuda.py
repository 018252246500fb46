"""ONNX Runtime's CUDA provider: feeds in buffers that stay on the GPU, and, if asked for, CUDA graphs."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..engine_set import EngineSet, regular_file
from ..tensors import Array
from .base import Backend, Engine, EngineOptions, Probe
from .nvidia import NO_GPU, find_gpu
from .onnx import OnnxBackend, OnnxEngine
from .session import (
    check_assignment,
    check_precision,
    check_provider,
    graph_precision,
    open_session,
    recorded,
    settings,
)

__all__ = ["CudaBackend", "CudaEngine", "cuda_options", "preload_libraries"]

PROVIDER = "CUDAExecutionProvider"
KEPT_SHAPES = 4
"""Shapes whose buffers, and recorded graphs, are kept at one time."""
NOT_RECORDED = "-1"
"""The graph id of a run that is neither recorded nor replayed."""


class CudaEngine(OnnxEngine):
    """A session whose inputs and outputs have a place on the device for each shape.

    A feed that equals the one before is not copied again: embeddings and masks stay on the GPU between steps. With
    `graph`, the second run of a shape is recorded as a CUDA graph and those after it replay it, which needs buffers
    that stay where they are. One run at a time; `place` is "cuda", or "cpu" to try this class without a GPU.
    """

    def __init__(
        self, session: Any, part: str, backend: Backend, precision: str, *, graph: bool = False, place: str = "cuda"
    ) -> None:
        super().__init__(session, part, backend, precision)
        self._graph, self._place = graph, place
        self._lock = threading.Lock()
        self._buffers: OrderedDict[tuple[object, ...], _Buffers] = OrderedDict()
        self._shapes_seen = 0

    def close(self) -> None:
        """Drop the session and what it has on the device."""
        super().close()
        with self._lock:
            self._buffers.clear()

    def _run_session(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, Array], run_options: Any
    ) -> Sequence[Array]:
        shape = (*names, *((name, value.shape) for name, value in sorted(feeds.items())))
        with self._lock:
            buffers = self._buffers.get(shape)
            if buffers is None:
                while len(self._buffers) >= KEPT_SHAPES:
                    self._buffers.popitem(last=False)[1].release()
                self._shapes_seen += 1
                graph_id = str(self._shapes_seen) if self._graph else ""
                partial = run_options is not None
                buffers = _Buffers(session, names, self._place, graph_id, partial=partial)
                self._buffers[shape] = buffers
            self._buffers.move_to_end(shape)
            return buffers.run(feeds)


class _Buffers:
    """Inputs and outputs of one shape on the device, and the recorded graph that reads and writes them."""

    def __init__(self, session: Any, names: Sequence[str], place: str, graph_id: str, *, partial: bool) -> None:
        self._session, self._names, self._place, self._graph_id = session, names, place, graph_id
        self._partial = partial
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._fed: dict[str, Array] = {}
        self._ran = False
        for name in names:
            # Its size is not known before the first run.
            self._binding.bind_output(name, place)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Copy what changed to the device, run, and copy the outputs back."""
        for name, value in feeds.items():
            self._feed(name, value)
        self._session.run_with_iobinding(self._binding, self._run_options())
        if self._graph_id and not self._ran:
            # A recorded graph writes to the same place each time.
            for name, value in zip(self._names, self._binding.get_outputs(), strict=True):
                self._binding.bind_ortvalue_output(name, value)
        self._ran = True
        return [np.array(value) for value in self._binding.copy_outputs_to_cpu()]

    def release(self) -> None:
        """Let go of a recorded graph, which must not outlive its buffers."""
        if self._graph_id:
            self._session.release_captured_graph(int(self._graph_id))

    def _feed(self, name: str, value: Array) -> None:
        from onnxruntime import OrtValue

        if name in self._fed and np.array_equal(self._fed[name], value):
            return
        if name not in self._inputs:
            place = OrtValue.ortvalue_from_shape_and_type(list(value.shape), value.dtype.type, self._place)
            self._inputs[name] = place
            self._binding.bind_ortvalue_input(name, place)
        self._inputs[name].update_inplace(value)
        self._fed[name] = value.copy()

    def _run_options(self) -> Any:
        from onnxruntime import RunOptions

        options = RunOptions()
        options.only_execute_path_to_fetches = self._partial
        if self._graph_id:
            options.add_run_config_entry("gpu_graph_id", self._graph_id if self._ran else NOT_RECORDED)
        return options


class CudaBackend(OnnxBackend):
    """The provider of onnxruntime-gpu; with the subclass in `ort_tensorrt.py`, TensorRT's in front of it."""

    def __init__(self) -> None:
        super().__init__("ort-cuda", "cuda", PROVIDER, "cuda", ("auto", "fp32", "fp16"))

    def probe(self) -> Probe:
        """See `Backend.probe`."""
        if not find_gpu():
            return Probe(False, reason=NO_GPU, remedy=f"with a GPU, {self._remedy}")
        found = super().probe()
        if found.usable:
            return Probe(True, found.version, find_gpu())
        remedy = f"pip uninstall -y onnxruntime && {self._remedy}" if found.version else found.remedy
        return Probe(False, found.version, find_gpu(), found.reason, remedy, worth_installing=True)

    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        """See `Backend.load`."""
        self.require(options)
        preload_libraries()
        artifact, name = engine_set.artifact(part, self.format), f"{part} on {self.name}"
        path = regular_file(engine_set.folder, artifact.file)
        session = open_session(path, recorded(settings(options)), [(PROVIDER, cuda_options(options))])
        check_provider(session, PROVIDER, name)
        check_assignment(session, name, [PROVIDER], light_elsewhere=True)
        precision = graph_precision(artifact, session)
        check_precision(options, precision, name)
        return CudaEngine(session, part, self, precision, graph=options.cuda_graph)


def cuda_options(options: EngineOptions) -> dict[str, str]:
    """The provider's options where they are not its defaults: float32 is float32, and CUDA graphs where asked for."""
    return {"device_id": "0", "use_tf32": "0", "enable_cuda_graph": str(int(options.cuda_graph))}


@cache
def preload_libraries() -> None:
    """Find CUDA's and cuDNN's libraries where pip put them."""
    import onnxruntime

    onnxruntime.preload_dlls()
