"""One loaded TensorRT plan: the profile for a call's shapes, its buffers on the GPU, a call at a time."""

import threading
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..engine_set import Artifact
from ..errors import EngineError
from ..tensors import Array, TensorSpec
from .base import Engine, check_feeds
from .cuda_runtime import Buffer, RecordedWork, checked
from .kept_kernels import KeptKernels

__all__ = ["LoadedPlan", "Profile", "TensorRTEngine", "choose_profile"]

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]
"""What an engine was prepared for: the smallest, the best and the largest shape of each input."""


class LoadedPlan(NamedTuple):
    """A library and what it made of a plan. The logger and the runtime must live as long as the engine."""

    library: ModuleType
    logger: Any
    runtime: Any
    engine: Any


class TensorRTEngine(Engine):
    """A deserialised plan with one execution context, for one call at a time; threads wait for each other.

    `name` is for messages. With `cuda_graph` the work of a shape is recorded once and replayed from then on. A call of
    more rows than the plan takes is run in pieces.
    """

    def __init__(self, plan: LoadedPlan, name: str, artifact: Artifact, cuda_graph: bool = False) -> None:
        from cuda.bindings import runtime as cuda

        self._cuda, self._plan, self._name, self._lock = cuda, plan, name, threading.Lock()
        self.backend, self.device, self.precision = artifact.format, "cuda", artifact.precision
        stated = (map(TensorSpec.stated, entries) for entries in (artifact.inputs, artifact.outputs))
        self.inputs, self.outputs = ({spec.name: spec for spec in specs} for specs in stated)
        self._profiles = [self._profile(index) for index in range(plan.engine.num_optimization_profiles)]
        # TensorRT-RTX records by itself, and compiles kernels here; of TensorRT's work the stream is recorded.
        records_itself = hasattr(plan.library, "CudaGraphStrategy")
        self._kernels: KeptKernels | None = None
        self._context = self._rtx_context(artifact, cuda_graph) if records_itself else self._plain_context()
        if self._context is None:
            raise EngineError(f"{name} does not fit into the GPU's memory: {plan.logger.last_error}.")
        self._stream = checked(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._buffers = {name: Buffer(cuda) for name in (*self.inputs, *self.outputs)}
        self._shapes: dict[str, Shape] = {}
        self._recorded = RecordedWork(cuda, self._stream) if cuda_graph and not records_itself else None

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Copy to the GPU, run, copy back; element types must be the graph's."""
        names = list(self.outputs if wanted is None else wanted)
        with self._lock:
            if self._context is None:
                raise EngineError(f"{self._name} was closed.")
            check_feeds(self._name, self.inputs, feeds)
            rows, most = len(next(iter(feeds.values()))), most_rows(self._profiles)
            pieces = [
                self._run_piece({name: value[start : start + most] for name, value in feeds.items()}, names)
                for start in range(0, rows, most)
            ]
        return pieces[0] if len(pieces) == 1 else {name: np.concatenate([p[name] for p in pieces]) for name in names}

    def close(self) -> None:
        """Free the GPU's memory."""
        with self._lock:
            if self._context is None:
                return
            if self._recorded:
                self._recorded.forget()
            if self._kernels:
                self._kernels.keep()
            self._context, self._plan = None, self._plan._replace(engine=None, runtime=None)
            for buffer in self._buffers.values():
                buffer.free()
            checked(self._cuda.cudaStreamDestroy(self._stream))

    def _run_piece(self, feeds: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
        self._prepare({name: value.shape for name, value in feeds.items()})
        kinds = self._cuda.cudaMemcpyKind
        given = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        for name, value in given.items():
            self._copy(self._buffers[name].address, value.ctypes.data, value.nbytes, kinds.cudaMemcpyHostToDevice)
        if self._recorded:
            self._recorded.run(self._enqueue)
        else:
            self._enqueue()
        answers = {name: np.empty(self._output_shape(name), self.outputs[name].dtype) for name in names}
        for name, value in answers.items():
            self._copy(value.ctypes.data, self._buffers[name].address, value.nbytes, kinds.cudaMemcpyDeviceToHost)
        checked(self._cuda.cudaStreamSynchronize(self._stream))
        return answers

    def _prepare(self, shapes: dict[str, Shape]) -> None:
        """Choose the profile for `shapes` and make room for inputs and outputs; nothing if they are the last call's."""
        if shapes == self._shapes:
            return
        index = choose_profile(self._profiles, shapes)
        if index is None:
            given = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise EngineError(
                f"{self._name} was built for {_range(self._profiles)}; it was given {given}. Build its plan again for "
                "these sizes: `outpaint-export tensorrt DIR --sizes WIDTHxHEIGHT,... --batch ROWS,...`."
            )
        self._shapes = {}
        if self._recorded:
            self._recorded.forget()
        if index != self._context.active_optimization_profile:
            self._require(self._context.set_optimization_profile_async(index, int(self._stream)), "switch profiles")
            checked(self._cuda.cudaStreamSynchronize(self._stream))
        for name, shape in shapes.items():
            self._require(self._context.set_input_shape(name, shape), f"take {name} as {list(shape)}")
        for name, buffer in self._buffers.items():
            spec = self.inputs.get(name) or self.outputs[name]
            buffer.hold(int(np.prod(shapes.get(name) or self._output_shape(name))) * spec.dtype.itemsize)
            self._require(self._context.set_tensor_address(name, buffer.address), f"use the buffer of {name}")
        self._shapes = shapes

    def _enqueue(self) -> None:
        self._require(self._context.execute_async_v3(int(self._stream)), "run")

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        checked(self._cuda.cudaMemcpyAsync(target, source, size, kind, self._stream))

    def _output_shape(self, name: str) -> Shape:
        return tuple(self._context.get_tensor_shape(name))

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(f"{self._name} could not {what}: {self._plan.logger.last_error}.")

    def _plain_context(self) -> Any:
        # Memory for the profile in use, not for the largest of all.
        memory = self._plan.library.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        return self._plan.engine.create_execution_context(memory)

    def _rtx_context(self, artifact: Artifact, records: bool) -> Any:
        library, engine = self._plan.library, self._plan.engine
        settings = engine.create_runtime_config()
        settings.set_execution_context_allocation_strategy(library.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE)
        # Kernels for a shape are ready before its first call, so that no later call runs on others.
        specialized = library.DynamicShapesKernelSpecializationStrategy
        settings.dynamic_shapes_kernel_specialization_strategy = specialized.EAGER
        if records:
            settings.cuda_graph_strategy = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._kernels = KeptKernels(settings, artifact)
        return engine.create_execution_context(settings)

    def _profile(self, index: int) -> Profile:
        def shapes(name: str) -> tuple[Shape, Shape, Shape]:
            smallest, best, largest = map(tuple, self._plan.engine.get_tensor_profile_shape(name, index))
            return smallest, best, largest

        return {name: shapes(name) for name in self.inputs}


def choose_profile(profiles: Sequence[Profile], shapes: Mapping[str, Shape]) -> int | None:
    """The profile for a call's shapes: one made for exactly these where there is one, else the first they fit into.

    None where they fit into none.
    """
    exact = (index for index, profile in enumerate(profiles) if all(profile[n] == (s, s, s) for n, s in shapes.items()))
    fitting = (index for index, profile in enumerate(profiles) if all(_fits(profile[n], s) for n, s in shapes.items()))
    return next(exact, next(fitting, None))


def most_rows(profiles: Sequence[Profile]) -> int:
    """The largest first axis of any profile."""
    return max(largest[0] for profile in profiles for _, _, largest in profile.values())


def _fits(profile: tuple[Shape, Shape, Shape], shape: Shape) -> bool:
    smallest, _, largest = profile
    return len(shape) == len(smallest) and all(
        low <= axis <= high for low, axis, high in zip(smallest, shape, largest, strict=True)
    )


def _range(profiles: Sequence[Profile]) -> str:
    """From where to where an engine's last profile goes, which is the widest one."""
    return ", ".join(f"{name} {list(low)} to {list(high)}" for name, (low, _, high) in profiles[-1].items())
