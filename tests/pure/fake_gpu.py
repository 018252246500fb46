"""CUDA and TensorRT as far as the engine uses them, on ordinary memory: plans that double what they are given.

`copied` and `launched` count what the engine asked for. A plan is the JSON of its profiles.
"""

import ctypes
import json
from collections.abc import Mapping
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

VERSION = "1.7.1"


class Status(IntEnum):
    SUCCESS = 0
    NO_DRIVER = 35
    CAPTURE_INVALIDATED = 901


class FakeCuda:
    """`cuda.bindings.runtime`: every call answers (status, value)."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")
    cudaDeviceAttr = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=8, cudaDevAttrComputeCapabilityMinor=9)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")

    def __init__(self, gpus: int = 1) -> None:
        self.gpus = gpus
        self.memory: dict[int, np.ndarray] = {}
        self.copied: list[str] = []
        self.recording: list[Any] | None = None
        self.launched = 0

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:  # noqa: N802
        return (Status.SUCCESS, self.gpus) if self.gpus else (Status.NO_DRIVER, None)

    def cudaGetErrorString(self, status: Status) -> tuple[Any, ...]:  # noqa: N802
        return Status.SUCCESS, b"CUDA driver version is insufficient"

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:  # noqa: N802
        return Status.SUCCESS, SimpleNamespace(name=b"Fake GPU\0\0")

    def cudaDeviceGetAttribute(self, attribute: int, device: int) -> tuple[Any, ...]:  # noqa: N802
        return Status.SUCCESS, attribute

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return Status.SUCCESS, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return (Status.SUCCESS,)

    cudaStreamDestroy = cudaStreamSynchronize  # noqa: N815

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        block = np.zeros(size, np.uint8)
        self.memory[block.ctypes.data] = block
        return Status.SUCCESS, block.ctypes.data

    def cudaFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        del self.memory[address]
        return (Status.SUCCESS,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: str, stream: int) -> tuple[Any, ...]:  # noqa: N802
        held = self.memory[target if kind == "in" else source]
        assert size <= held.nbytes
        ctypes.memmove(target, source, size)
        self.copied.append(kind)
        return (Status.SUCCESS,)

    def cudaStreamBeginCapture(self, stream: int, mode: str) -> tuple[Any, ...]:  # noqa: N802
        self.recording = []
        return (Status.SUCCESS,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        recorded, self.recording = self.recording, None
        return Status.SUCCESS, recorded

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return Status.SUCCESS, graph

    def cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        self.launched += 1
        for work in graph:
            work()
        return (Status.SUCCESS,)

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:  # noqa: N802
        return (Status.SUCCESS,)

    cudaGraphExecDestroy = cudaGraphDestroy  # noqa: N815


class FakeContext:
    def __init__(self, cuda: FakeCuda, profiles: list[Mapping[str, Any]]) -> None:
        self._cuda, self._profiles = cuda, profiles
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.active_optimization_profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._profiles[self.active_optimization_profile][name]
        self._shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes["sample"]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address != 0

    def execute_async_v3(self, stream: int) -> bool:
        if self._cuda.recording is not None:
            self._cuda.recording.append(self._double)
        else:
            self._double()
        return True

    def _double(self) -> None:
        size = int(np.prod(self._shapes["sample"])) * 4
        given, answer = (self._cuda.memory[self._addresses[n]][:size].view("float32") for n in ("sample", "out_sample"))
        answer[:] = 2 * given


class FakeSettings:
    """TensorRT-RTX's, whose kernels grow by one at each start."""

    def set_execution_context_allocation_strategy(self, memory: str) -> None:
        self.memory = memory

    def create_runtime_cache(self) -> Any:
        self.kernels = b""
        return SimpleNamespace(deserialize=self._take, serialize=lambda: self.kernels)

    def set_runtime_cache(self, cache: Any) -> None:
        self.kernels += b"K"

    def _take(self, kernels: bytes) -> None:
        self.kernels = kernels


class FakeLibrary:
    """A module that is `tensorrt` or `tensorrt_rtx_bindings`."""

    __version__ = VERSION
    ExecutionContextAllocationStrategy = SimpleNamespace(ON_PROFILE_CHANGE="on change")

    class ILogger:
        ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.deserialised = 0

    def new_context(self, profiles: list[Mapping[str, Any]]) -> Any:
        def create(settings: Any) -> FakeContext:
            self.settings = settings
            return FakeContext(self._cuda, profiles)

        return create

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialise(plan: bytes) -> Any:
            self.deserialised += 1
            if not plan.startswith(b"["):
                logger.log("error", "Magic tag does not match.")
                return None
            profiles = json.loads(plan)
            return SimpleNamespace(
                num_optimization_profiles=len(profiles),
                get_tensor_profile_shape=lambda name, index: profiles[index][name],
                create_execution_context=self.new_context(profiles),
                create_runtime_config=FakeSettings,
            )

        return SimpleNamespace(deserialize_cuda_engine=deserialise)


class FakeRtxLibrary(FakeLibrary):
    """As `tensorrt_rtx_bindings`, which records by itself and compiles kernels on the GPU that runs them."""

    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
