"""ONNX Runtime's CUDA provider: feeds in buffers that stay on the GPU, and work recorded as CUDA graphs."""

import importlib.util
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendUnavailable, EngineError, EngineSetError
from ..machine import NO_GPU, find_gpu
from ..tensors import Array
from .base import Backend, Engine, EngineOptions, Loading, Probe
from .bound_calls import NOT_RECORDED, BoundCalls
from .onnx import (
    FATAL,
    OnnxBackend,
    OnnxEngine,
    Provider,
    check_precision,
    check_provider,
    graph_precision,
    open_session,
    settings,
)

__all__ = ["CudaBackend", "CudaEngine", "check_assignment", "cuda_options", "gpu_session", "preload_libraries"]

PROVIDER = "CUDAExecutionProvider"
HEAVY = frozenset(
    {"Attention", "BiasSplitGelu", "Conv", "Gemm", "GroupNorm", "GroupNormalization", "InstanceNormalization"}
    | {"LayerNormalization", "MatMul", "MultiHeadAttention", "NhwcConv", "Softmax"}
)
"""Operators whose running on another provider than asked for would not be what was asked for."""
KEPT_SHAPES = 4
"""Shapes whose buffers, and recorded graphs, are kept at one time."""
LIBRARY_FOLDERS = ("cu13/lib", "cudnn/lib")
"""Where NVIDIA's wheels put CUDA's and cuDNN's libraries, below each folder of the namespace package `nvidia`."""


class CudaEngine(OnnxEngine):
    """A session whose inputs and outputs have a place on the engine's device for each shape.

    A feed that equals the one before is not copied again: embeddings and masks stay on the GPU between steps. With
    `graph`, the second run of a shape is recorded as a CUDA graph and those after it replay it, which needs buffers
    that stay where they are. The library keeps recorded graphs for each thread, so all runs are on one thread of the
    engine's own, one at a time.
    """

    def __init__(self, session: Any, part: str, backend: Backend, precision: str, *, graph: bool) -> None:
        super().__init__(session, part, backend, precision)
        self._graph = graph
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._buffers: OrderedDict[tuple[object, ...], _Buffers] = OrderedDict()
        self._graph_ids, self._loops = count(1), dict[Any, Any]()

    def close(self) -> None:
        """Drop the session and what it has on the device, after the run in progress."""
        if self._session is not None:
            super().close()
            self._thread.submit(self._buffers.clear)
            self._thread.submit(self._loops.clear)
            self._thread.shutdown()

    def bound_calls(self) -> BoundCalls | None:
        """For loops that stay on the device, where work is recorded."""
        if self._session is None or not self._graph:
            return None
        return BoundCalls(self._session, self.device, self._bound_work, self._bound_work, self._graph_ids, self._loops)

    def _bound_work(self, work: Callable[[], Any]) -> Any:
        try:
            return self._on_thread(work)
        except Exception as error:
            raise EngineError(
                f"{self._name} failed in a loop that stays on the device: {error}. With --no-cuda-graph (in Python "
                "EngineOptions(cuda_graph=False)) it goes through arrays."
            ) from error

    def _on_thread(self, work: Callable[[], Any]) -> Any:
        return self._thread.submit(work).result()

    def _run_session(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, Array], run_options: Any
    ) -> Sequence[Array]:
        return self._on_thread(partial(self._run_bound, session, names, feeds, partial=run_options is not None))

    def _run_bound(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, Array], *, partial: bool
    ) -> Sequence[Array]:
        shape = (*names, *((name, value.shape) for name, value in sorted(feeds.items())))
        buffers = self._buffers.get(shape)
        if buffers is None:
            while len(self._buffers) >= KEPT_SHAPES:
                self._buffers.popitem(last=False)[1].release()
            graph_id = str(next(self._graph_ids)) if self._graph else ""
            buffers = self._buffers[shape] = _Buffers(session, names, self.device, graph_id, partial=partial)
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

    side_by_side = False

    def __init__(self) -> None:
        super().__init__("ort-cuda", "cuda", PROVIDER, "cuda", ("auto", "fp32", "fp16"))

    def _look(self) -> Probe:
        if not find_gpu():
            return Probe(False, reason=NO_GPU, remedy=f"with a GPU, {self._remedy}")
        found = super()._look()
        if found.usable:
            return Probe(True, found.version, find_gpu())
        remedy = f"pip uninstall -y onnxruntime && {self._remedy}" if found.version else found.remedy
        return Probe(False, found.version, find_gpu(), found.reason, remedy, worth_installing=True)

    def _open(self, loading: Loading) -> Engine:
        preload_libraries()
        artifact, path = loading.artifact(self)
        name = f"{loading.part} on {self.name}"
        session, graph = gpu_session(path, name, loading.options, lambda graph: [(PROVIDER, cuda_options(graph))])
        precision = graph_precision(artifact, session)
        check_precision(loading.options, precision, name)
        return CudaEngine(session, loading.part, self, precision, graph=graph)


def gpu_session(
    path: Path, engine: str, options: EngineOptions, providers: Callable[[bool], Sequence[Provider]]
) -> tuple[Any, bool]:
    """A session on what `providers(graph)` gives, and whether its work is recorded as CUDA graphs.

    Where nothing is asked for it is, or a warning says why it cannot be.

    Raises:
        EngineSetError: the graph cannot be loaded, or not recorded where that was asked for.
        BackendUnavailable: heavy nodes would run elsewhere.
    """
    if options.cuda_graph is not None:
        return _session(path, engine, options, providers(options.cuda_graph)), options.cuda_graph
    try:
        return _session(path, engine, options, providers(True)), True
    except EngineSetError as refused:
        session = _session(path, engine, options, providers(False))
        warnings.warn(f"{engine} runs without CUDA graphs: {refused}", stacklevel=2)
        return session, False


def _session(path: Path, engine: str, options: EngineOptions, providers: Sequence[Provider]) -> Any:
    session_options = settings(options)
    # So that the session remembers which provider takes which node.
    session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = open_session(path, session_options, providers)
    names = [name for name, _ in providers]
    check_provider(session, names[0], engine)
    check_assignment(session, engine, names)
    return session


def check_assignment(session: Any, engine: str, providers: Collection[str]) -> None:
    """Compare the provider of every heavy node with those that should run it; arithmetic on shapes may stay on the CPU.

    Raises:
        BackendUnavailable: heavy nodes would run elsewhere; the message names them.
    """
    nodes, strangers = 0, []
    for graph in session.get_provider_graph_assignment_info():
        nodes += len(graph.get_nodes())
        if graph.ep_name not in providers:
            strangers += [node for node in graph.get_nodes() if node.op_type in HEAVY]
    if strangers:
        names = ", ".join(f"{node.op_type} {node.name}" for node in strangers[:5])
        raise BackendUnavailable(
            f"{engine} would leave {len(strangers)} of {nodes} nodes to another provider ({names}"
            f"{', ...' if len(strangers) > 5 else ''}), because {' and '.join(providers)} does not take them. "
            "Use --device cpu, or export the checkpoint again with a lower --opset."
        )


def cuda_options(graph: bool) -> dict[str, str]:
    """The provider's options where they are not its defaults; `graph` has it record CUDA graphs.

    Float32 is float32, and the sum after a convolution is the convolution's. Convolutions stay channels first: turning
    each one's input and output costs more than it gains.
    """
    return {
        "device_id": "0",
        "use_tf32": "0",
        "fuse_conv_bias": "1",
        "enable_cuda_graph": str(int(graph)),
    }


@cache
def preload_libraries() -> None:
    """Load CUDA's and cuDNN's libraries from where pip put them, which need not be beside onnxruntime."""
    import onnxruntime

    # The providers also speak through the library's own logger, a line or more for each session.
    onnxruntime.set_default_logger_severity(FATAL)
    nvidia = importlib.util.find_spec("nvidia")
    roots = nvidia.submodule_search_locations if nvidia and nvidia.submodule_search_locations else ()
    folders = [Path(root) / folder for root in roots for folder in LIBRARY_FOLDERS]
    there = [folder for folder in folders if folder.is_dir()]
    for folder in there:
        cudnn = folder.parent.name == "cudnn"
        onnxruntime.preload_dlls(cuda=not cudnn, cudnn=cudnn, directory=str(folder))
    if not there:
        onnxruntime.preload_dlls()
