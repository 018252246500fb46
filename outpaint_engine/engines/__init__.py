"""The engines: one file a runtime library, imported when it is used, and `table`, which says which exist.

Plans are built in the export stage, which takes from here what builder and runtime must agree on.
"""

from ..shapes import Bucket
from .base import SHALLOW, Backend, Engine, EngineOptions, Loading, Probe
from .batching import BatchingEngine
from .bound_calls import BoundCalls
from .cuda_runtime import compute_capability
from .function import FunctionEngine
from .table import BACKENDS, find_backend, load_engines, load_optional
from .tensorrt import FLAVOURS, Flavour, collected_messages
from .tensorrt_engine import Profile

__all__ = [
    "BACKENDS",
    "FLAVOURS",
    "SHALLOW",
    "Backend",
    "BatchingEngine",
    "BoundCalls",
    "Bucket",
    "Engine",
    "EngineOptions",
    "Flavour",
    "FunctionEngine",
    "Loading",
    "Probe",
    "Profile",
    "collected_messages",
    "compute_capability",
    "find_backend",
    "load_engines",
    "load_optional",
]
