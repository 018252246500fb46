"""The engines: one file a runtime library, imported when it is used, and `table`, which says which exist."""

from .base import Backend, Bucket, Engine, EngineOptions, Probe
from .batching import BatchingEngine
from .function import FunctionEngine
from .table import BACKENDS, load_engines

__all__ = [
    "BACKENDS",
    "Backend",
    "BatchingEngine",
    "Bucket",
    "Engine",
    "EngineOptions",
    "FunctionEngine",
    "Probe",
    "load_engines",
]
