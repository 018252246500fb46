"""ONNX Runtime: sessions as engines, and the backend whose rows differ in their execution provider only.

The library is imported on use. Nothing here knows of diffusion.
"""

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine_set import EngineSet, regular_file
from ..errors import EngineError
from ..tensors import Array, TensorSpec
from .attention import attention_in_blocks
from .base import Backend, Engine, EngineOptions, Probe, check_feeds
from .session import check_precision, check_provider, graph_precision, installed, open_session, settings

__all__ = ["OnnxBackend", "OnnxEngine"]

ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
FLAVOURS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Distributions that all bring the module `onnxruntime`. Plug-ins such as onnxruntime-ep-openvino are none of them."""


class OnnxEngine(Engine):
    """One ONNX Runtime session."""

    def __init__(self, session: Any, part: str, backend: Backend, precision: str) -> None:
        self._session = session
        self._partial = _path_to_outputs()
        self._name = f"{part} on {backend.name}"
        self.backend, self.device, self.precision = backend.name, backend.device, precision
        self.inputs = {spec.name: spec for spec in map(_spec, session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, session.get_outputs())}

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the session; element types must be the graph's."""
        # Another thread may close this engine during the run.
        session = self._session
        if session is None:
            raise EngineError(f"{self._name} was closed.")
        check_feeds(self._name, self.inputs, feeds)
        names = list(self.outputs if wanted is None else wanted)
        try:
            values = self._run_session(session, names, feeds, None if wanted is None else self._partial)
        except Exception as error:
            shapes = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in feeds.items())
            raise EngineError(f"{self._name} failed on {shapes}: {error}") from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def _run_session(
        self, session: Any, names: Sequence[str], feeds: Mapping[str, Array], run_options: Any
    ) -> Sequence[Array]:
        return session.run(names, dict(feeds), run_options)


class OnnxBackend(Backend):
    """ONNX Runtime with one execution provider, which must be the one that really runs.

    As it is, a row for the CPU provider. On 2 cores of an AMD EPYC, switching the memory arena or spinning off made the
    demo's UNet 1.2 times as slow, giving the arena's memory back after each run made a full-size VAE decoder 1.3 times
    as slow, and flushing denormals and prepacking made no difference: for these the library's defaults stay. Without
    memory patterns a full-size UNet at 1024x1024 needs 2.9 GB less, and is no slower.
    """

    format = "onnx"

    def __init__(self, name: str, device: str, provider: str, extra: str, precisions: tuple[str, ...]) -> None:
        self.name, self.device, self.precisions = name, device, precisions
        self._provider, self._remedy = provider, f'pip install "outpaint_engine[{extra}]"'

    def probe(self) -> Probe:
        """See `Backend.probe`."""
        runtime = self._probe_runtime()
        if runtime.usable and self._provider not in _available_providers():
            return Probe(
                False, runtime.version, reason=f"this onnxruntime has no {self._provider}", remedy=self._remedy
            )
        return runtime

    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        """See `Backend.load`."""
        self.require(options)
        artifact = engine_set.artifact(part, self.format)
        path = regular_file(engine_set.folder, artifact.file)
        session_options = settings(options)
        session_options.enable_mem_pattern = False
        session = open_session(path, session_options, [self._provider], rewrite=attention_in_blocks)
        check_provider(session, self._provider, f"{part} on {self.name}")
        precision = graph_precision(artifact, session)
        check_precision(options, precision, f"{part} on {self.name}")
        return OnnxEngine(session, part, self, precision)

    def _probe_runtime(self) -> Probe:
        """Whether there is exactly one onnxruntime and it imports."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Probe(False, reason="onnxruntime is not installed", remedy=self._remedy)
        flavours = [name for name in FLAVOURS if installed(name)]
        if len(flavours) > 1:
            return Probe(
                False,
                reason=f"{' and '.join(flavours)} overwrite each other's files",
                remedy=f"pip uninstall -y {' '.join(flavours)} && {self._remedy}",
            )
        try:
            import onnxruntime
        except Exception as error:  # a broken wheel may raise anything, and a probe never does
            return Probe(False, reason=f"onnxruntime does not import: {error}", remedy=self._remedy)
        return Probe(True, f"onnxruntime {onnxruntime.__version__}", self.device)


def _available_providers() -> Sequence[str]:
    import onnxruntime

    return onnxruntime.get_available_providers()


def _path_to_outputs() -> Any:
    """Run options that leave out what the outputs asked for do not need."""
    from onnxruntime import RunOptions

    options = RunOptions()
    options.only_execute_path_to_fetches = True
    return options


def _spec(argument: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in argument.shape)
    return TensorSpec(argument.name, np.dtype(ELEMENT_TYPES.get(argument.type, np.float32)), shape)
