"""The engines, and the one table that says which exist. A backend's library is imported when it is used."""

from ..errors import BackendUnavailable
from .base import Backend, Engine, EngineOptions, Probe
from .batching import BatchingEngine
from .function import FunctionEngine
from .onnx import OnnxBackend
from .tensorrt import FLAVOURS, TensorRTBackend

__all__ = [
    "BACKENDS",
    "Backend",
    "BatchingEngine",
    "Engine",
    "EngineOptions",
    "FunctionEngine",
    "Probe",
    "choose_backend",
]

BACKENDS: tuple[Backend, ...] = (
    *map(TensorRTBackend, FLAVOURS),
    OnnxBackend("ort-cpu", "cpu", "CPUExecutionProvider", "cpu"),
)
"""Fastest first: the order in which `auto` tries them."""


def choose_backend(device: str) -> Backend:
    """The backend for a device ("cpu") or backend name ("ort-cpu"); "auto" takes the first that works.

    Raises:
        BackendUnavailable: it cannot be used here; the message says why and what to install.
    """
    named = [backend for backend in BACKENDS if device in ("auto", backend.name, backend.device)]
    if not named:
        known = sorted({"auto", *(backend.name for backend in BACKENDS), *(backend.device for backend in BACKENDS)})
        raise BackendUnavailable(
            f"This version has no backend for device {device!r}; it has {', '.join(known)}. See `outpaint devices`."
        )
    probes = [(backend, backend.probe()) for backend in named]
    for backend, probe in probes:
        if probe.usable:
            return backend
    reasons = " ".join(f"{backend.name}: {probe.reason}; try {probe.remedy}." for backend, probe in probes)
    raise BackendUnavailable(f"No backend can be used for device {device!r}. {reasons}")
