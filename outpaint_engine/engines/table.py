"""Which backends there are, and which one runs: the one asked for, or with "auto" the first that works for the set."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..engine_set import PARTS, EngineSet
from ..errors import BackendUnavailable, EngineSetError, RequestError
from ..tensors import Shapes
from .base import Backend, Engine, EngineOptions, Loading, Probe
from .cuda import CudaBackend
from .onnx import OnnxBackend
from .openvino import OpenVinoBackend
from .ort_tensorrt import OrtTensorRTBackend
from .tensorrt import FLAVOURS, TensorRTBackend

__all__ = ["BACKENDS", "SHORT_NAMES", "find_backend", "load_engines", "load_optional"]

BACKENDS: tuple[Backend, ...] = (
    *map(TensorRTBackend, FLAVOURS),
    OrtTensorRTBackend(),
    CudaBackend(),
    OpenVinoBackend(),
    OnnxBackend("ort-cpu", "cpu", "CPUExecutionProvider", "cpu", ("auto", "fp32")),
)
"""Fastest first: the order in which "auto" tries them."""
SHORT_NAMES = {"cpu": "ort-cpu", "cuda": "ort-cuda"}
ON_ANY_MACHINE = "ort-cpu"


def find_backend(device: str) -> Backend:
    """The backend of that name ("ort-cpu"), or short name ("cpu").

    Raises:
        BackendUnavailable: there is none.
    """
    name = SHORT_NAMES.get(device, device)
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    known = ", ".join(["auto", *SHORT_NAMES, *(backend.name for backend in BACKENDS)])
    raise BackendUnavailable(f"This version has no backend {device!r}; it has {known}. See `outpaint devices`.")


def load_engines(
    engine_set: EngineSet, device: str, options: EngineOptions, shapes: Mapping[str, tuple[Shapes, ...]]
) -> dict[str, Engine]:
    """The engines of a set's four parts, on the backend asked for; "auto" takes the first that works for this set.

    `shapes` are those to make engines of fixed shapes for, by part. "auto" warns where it took a slower backend than
    this machine could have, and says what to install.

    Raises:
        BackendUnavailable: it cannot be used here; the message says why and what to install.
        EngineSetError: a graph cannot be loaded.
    """
    if device != "auto":
        return _load(find_backend(device), engine_set, options, shapes)
    passed_over: list[str] = []
    candidates = [backend for backend in BACKENDS if backend.suits(engine_set, options)]
    for backend in candidates:
        probe = backend.probe()
        if not probe.usable:
            if probe.worth_installing:
                passed_over.append(_advice(backend, probe))
            continue
        try:
            engines = _load(backend, engine_set, options, shapes)
        except (BackendUnavailable, EngineSetError) as error:
            if backend is candidates[-1]:
                raise
            passed_over.append(f"{backend.name} was passed over: {error}")
            continue
        _warn(passed_over, backend)
        return engines
    raise BackendUnavailable(_nothing_works(candidates, options))


def load_optional(engine_set: EngineSet, part: str, device: str, options: EngineOptions, lacking: str) -> Engine:
    """The engine of a part that a set may lack; beside plans, which such parts have none of, on `ort-cpu`.

    Raises:
        RequestError: the set lacks it; `lacking` says what to do about that.
        EngineSetError: the graph cannot be loaded.
        BackendUnavailable: the backend cannot be used here.
    """
    formats = {each.format for each in engine_set.artifacts if each.part == part}
    if not formats:
        raise RequestError(lacking.format(folder=engine_set.folder))
    backend = find_backend(device)
    if backend.format not in formats:
        backend, options = find_backend(ON_ANY_MACHINE), EngineOptions(threads=options.threads)
    return backend.load(Loading(engine_set, part, options))


def _load(
    backend: Backend, engine_set: EngineSet, options: EngineOptions, shapes: Mapping[str, tuple[Shapes, ...]]
) -> dict[str, Engine]:
    backend.require(options)
    each = [Loading(engine_set, part, options, shapes.get(part, ())) for part in PARTS]
    engines: dict[str, Engine] = {}
    with ThreadPoolExecutor(len(each)) as pool:
        loaded = (pool.map if backend.side_by_side else map)(backend.load, each)
        try:
            for loading, engine in zip(each, loaded, strict=True):
                engines[loading.part] = engine
        except BaseException:
            for engine in engines.values():
                engine.close()
            raise
    return engines


def _advice(backend: Backend, probe: Probe) -> str:
    return f"{backend.name} would be faster on this machine: {probe.reason}. Try: {probe.remedy}"


def _warn(passed_over: Sequence[str], chosen: Backend) -> None:
    """Once a process and text, which is what Python's own filter does with one place in the code."""
    for text in passed_over:
        warnings.warn(f"{text} (Running on {chosen.name}; --device {chosen.name} silences this.)", stacklevel=4)


def _nothing_works(candidates: Sequence[Backend], options: EngineOptions) -> str:
    if not candidates:
        return f"No backend can run this engine set in {options.precision}. See `outpaint devices`."
    probes = [(backend, backend.probe()) for backend in candidates]
    reasons = " ".join(f"{backend.name}: {probe.reason}; try {probe.remedy}." for backend, probe in probes)
    return f"No backend can be used. {reasons}"
