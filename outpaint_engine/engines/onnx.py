"""ONNX Runtime: sessions as engines, opened without falling back and checked for what really runs them.

The library is imported on use. Nothing here knows of diffusion.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..engine_set import Artifact
from ..engine_set.weights import initializers_in
from ..errors import BackendUnavailable, EngineError, EngineSetError
from ..machine import usable_cores
from ..tensors import Array, TensorSpec
from .base import Backend, Engine, EngineOptions, Loading, Probe, check_feeds
from .prepared import find_prepared, forget_prepared, prepare

__all__ = [
    "OnnxBackend",
    "OnnxEngine",
    "check_precision",
    "check_provider",
    "graph_precision",
    "open_session",
    "settings",
]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime reads it once, when it is first imported; see its Privacy.md. A setting of the user's own stays."""
ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
FLAVOURS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Distributions that all bring the module `onnxruntime`. Plug-ins such as onnxruntime-ep-webgpu are none of them."""
FATAL = 4
"""Log severity: failures reach the caller as exceptions, and need not be printed as well."""

Provider = tuple[str, Mapping[str, str]]
"""Its name and its options."""


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

    format, side_by_side = "onnx", True

    def __init__(self, name: str, device: str, provider: str, extra: str, precisions: tuple[str, ...]) -> None:
        self.name, self.device, self.precisions = name, device, precisions
        self._provider, self._remedy = provider, f'pip install "outpaint_engine[{extra}]"'
        self.changes_weights = device == "cpu"

    def _look(self) -> Probe:
        """Whether there is exactly one onnxruntime, it imports, and it has the provider."""
        found = importlib.util.find_spec("onnxruntime")
        if found is None or found.origin is None:
            return Probe(False, reason="onnxruntime is not installed", remedy=self._remedy)
        flavours = _flavours_in(Path(found.origin).parents[1])
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
        version = f"onnxruntime {onnxruntime.__version__}"
        if self._provider not in _available_providers():
            return Probe(False, version, reason=f"this onnxruntime has no {self._provider}", remedy=self._remedy)
        return Probe(True, version, self.device)

    def _open(self, loading: Loading) -> Engine:
        artifact, path = loading.artifact(self)
        name = f"{loading.part} on {self.name}"
        session = self._opened(loading, path)
        check_provider(session, self._provider, name)
        precision = graph_precision(artifact, session)
        check_precision(loading.options, precision, name)
        return OnnxEngine(session, loading.part, self, precision)

    def _settings(self, loading: Loading) -> Any:
        found = settings(loading.options)
        found.enable_mem_pattern = False
        return found

    def _session(self, path: Path, session_options: Any, changed: Mapping[str, Array] | None = None) -> Any:
        """A session of a graph. ONNX Runtime copies `changed` while it opens; until then the arrays must live."""
        from onnxruntime import OrtValue

        if changed:
            values = [OrtValue.ortvalue_from_numpy(array) for array in changed.values()]
            session_options.add_external_initializers(list(changed), values)
        return open_session(path, session_options, [self._provider])

    def _opened(self, loading: Loading, path: Path) -> Any:
        """A session of what was prepared of the graph at `path`, or of the graph, with its changed weights."""
        from onnxruntime import GraphOptimizationLevel

        changed = loading.changed_in(initializers_in(path, loading.changed)) if loading.changed else {}
        prepared = self._prepared(loading, path)
        if prepared is not None and _has_by_name(prepared, changed):
            as_it_is = self._settings(loading)
            as_it_is.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                return self._session(prepared, as_it_is, changed)
            except EngineSetError as error:
                forget_prepared(prepared.parent, str(error).rstrip("."))
        return self._session(path, self._settings(loading), changed)

    def own_bytes(self, loading: Loading, sizes: Mapping[str, int]) -> int:
        """See `Backend.own_bytes`: what was prepared is shared, but for the weights that are changed."""
        _, path = loading.artifact(self)
        changed = initializers_in(path, loading.changed)
        prepared = find_prepared(loading, path)
        shared = prepared is not None and _has_by_name(prepared, changed)
        return sum(size for name, size in sizes.items() if name in changed or not shared)

    def _prepared(self, loading: Loading, path: Path) -> Path | None:
        """What was prepared of the graph at `path`; None where nothing was, and none is asked for."""
        if loading.options.prepare:
            return prepare(loading, path, self._settings(loading), partial(self._session, path))
        return find_prepared(loading, path)


def _has_by_name(prepared: Path, changed: Collection[str]) -> bool:
    """Whether all these weights can be changed in a prepared graph: the optimiser names anew what it turns or folds."""
    return initializers_in(prepared, changed) == set(changed)


def settings(options: EngineOptions) -> Any:
    """Session options that every provider shares."""
    import onnxruntime

    found = onnxruntime.SessionOptions()
    found.log_severity_level = FATAL
    found.intra_op_num_threads = options.threads or usable_cores()
    return found


def open_session(path: Path, session_options: Any, providers: Sequence[Provider | str]) -> Any:
    """A session of the graph at `path`. It never falls back to other providers.

    Raises:
        EngineSetError: the graph cannot be loaded.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), session_options, list(providers), enable_fallback=0)
    except Exception as error:
        raise EngineSetError(
            f"{path} is not a graph that onnxruntime {onnxruntime.__version__} can load: {error}"
        ) from error


def check_provider(session: Any, provider: str, engine: str) -> None:
    """Compare the provider that runs with the one asked for.

    Raises:
        BackendUnavailable: another one runs.
    """
    runs = session.get_providers()[0]
    if runs != provider:
        raise BackendUnavailable(f"{engine} would run on {runs}, not on {provider}. See `outpaint devices`.")


def check_precision(options: EngineOptions, precision: str, engine: str) -> None:
    """Compare the precision that runs with the one asked for.

    Raises:
        BackendUnavailable: they differ.
    """
    if options.precision not in ("auto", precision):
        raise BackendUnavailable(
            f"{engine} computes the graph as it was exported, in {precision}; {options.precision} was asked for. "
            "Use --precision auto, or an engine set that was exported in that precision."
        )


def graph_precision(artifact: Artifact, session: Any) -> str:
    """What a provider computes a graph in that takes it as it is: "fp16" for half-precision graphs, else "fp32"."""
    kinds = {argument.type for argument in (*session.get_inputs(), *session.get_outputs())}
    return "fp16" if artifact.precision == "fp16" or "tensor(float16)" in kinds else "fp32"


def _flavours_in(folder: Path) -> list[str]:
    """The distributions of onnxruntime whose files lie in `folder`; one in another folder overwrites nothing."""
    return [name for name in FLAVOURS if any(importlib.metadata.distributions(name=name, path=[str(folder)]))]


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
