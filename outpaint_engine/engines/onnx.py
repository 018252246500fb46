"""ONNX Runtime: one engine class, and one row a provider. Imported on use; knows nothing of diffusion."""

import importlib.metadata
import importlib.util
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..engine_set import EngineSet
from ..errors import BackendUnavailable, EngineError, EngineSetError
from ..tensors import Array, TensorSpec
from .base import Backend, Engine, EngineOptions, Probe, usable_cores

__all__ = ["OnnxBackend", "OnnxEngine"]

ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


class OnnxEngine(Engine):
    """One ONNX Runtime session."""

    def __init__(self, session: Any, name: str, device: str) -> None:
        self._session = session
        self._options = _path_to_outputs()
        self._name = name
        self.device = device
        self.inputs = {spec.name: spec for spec in map(_spec, session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, session.get_outputs())}
        kinds = {spec.dtype for spec in self.outputs.values()}
        self.precision = "fp16" if np.dtype(np.float16) in kinds else "fp32"

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the session; element types must be the graph's."""
        if self._session is None:
            raise EngineError(f"{self._name} was closed.")
        names = list(self.outputs if wanted is None else wanted)
        try:
            values = self._session.run(names, dict(feeds), None if wanted is None else self._options)
        except Exception as error:
            shapes = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in feeds.items())
            raise EngineError(f"{self._name} failed on {shapes}: {error}") from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


class OnnxBackend(Backend):
    """ONNX Runtime with one execution provider, which must be the one that really runs."""

    format = "onnx"

    def __init__(self, name: str, device: str, provider: str, extra: str) -> None:
        self.name, self.device, self._provider, self._extra = name, device, provider, extra

    def probe(self) -> Probe:
        """See `Backend.probe`."""
        remedy = f'pip install "outpaint_engine[{self._extra}]"'
        if importlib.util.find_spec("onnxruntime") is None:
            return Probe(False, reason="onnxruntime is not installed", remedy=remedy)
        flavours = [name for name in DISTRIBUTIONS if _installed(name)]
        if len(flavours) > 1:
            return Probe(
                False,
                reason=f"{' and '.join(flavours)} overwrite each other's files",
                remedy=f"pip uninstall -y {' '.join(flavours)} && {remedy}",
            )
        try:
            import onnxruntime
        except Exception as error:  # a broken wheel may raise anything, and a probe never does
            return Probe(False, reason=f"onnxruntime does not import: {error}", remedy=remedy)
        version = f"onnxruntime {onnxruntime.__version__}"
        if self._provider not in onnxruntime.get_available_providers():
            return Probe(False, version, reason=f"this onnxruntime has no {self._provider}", remedy=remedy)
        return Probe(True, version, self.device)

    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        """See `Backend.load`."""
        probe = self.probe()
        if not probe.usable:
            raise BackendUnavailable(f"{self.name} cannot be used: {probe.reason}. Try: {probe.remedy}")
        import onnxruntime

        path = engine_set.folder / engine_set.artifact(part, self.format).file
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = options.threads or usable_cores()
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=[self._provider])
        except Exception as error:
            raise EngineSetError(f"{path} is not a graph that {probe.version} can load: {error}") from error
        runs = session.get_providers()[0]
        if runs != self._provider:
            raise BackendUnavailable(f"{self.name} was asked for, but {runs} would run {part}. See `outpaint devices`.")
        return OnnxEngine(session, f"{part} on {self.name}", self.device)


def _path_to_outputs() -> Any:
    """Run options that leave out what the outputs asked for do not need."""
    from onnxruntime import RunOptions

    options = RunOptions()
    options.only_execute_path_to_fetches = True
    return options


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _spec(argument: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in argument.shape)
    return TensorSpec(argument.name, np.dtype(ELEMENT_TYPES.get(argument.type, np.float32)), shape)
