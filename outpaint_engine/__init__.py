"""Outpainting with Stable Diffusion 1.5 on exported engines, without torch.

    from outpaint_engine import OutpaintPipeline

    pipe = OutpaintPipeline.from_pretrained("demo")
    result = pipe(image="photo.png", prompt="sunset sea", width=384, height=256, offset_x=64)
    result.images[0].save("wide.png")

Names are imported on first use, so that `import outpaint_engine` costs almost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .canvas import Placement, plan
    from .engine_set import EngineSet
    from .engines import Engine, EngineOptions, FunctionEngine
    from .errors import (
        BackendUnavailable,
        EngineError,
        EngineSetError,
        ImageError,
        NumericalError,
        OutpaintError,
        OutputError,
        RequestError,
        SafetyError,
    )
    from .pipeline import OutpaintPipeline
    from .request import OutpaintRequest
    from .run import OutpaintResult, OutpaintRun, Progress
    from .shared import SharedPipeline

__version__ = "0.1.0"

_HOME = {
    "BackendUnavailable": "errors",
    "Engine": "engines",
    "EngineError": "errors",
    "EngineOptions": "engines",
    "EngineSet": "engine_set",
    "EngineSetError": "errors",
    "FunctionEngine": "engines",
    "ImageError": "errors",
    "NumericalError": "errors",
    "OutpaintError": "errors",
    "OutpaintPipeline": "pipeline",
    "OutpaintRequest": "request",
    "OutpaintResult": "run",
    "OutpaintRun": "run",
    "OutputError": "errors",
    "Placement": "canvas",
    "Progress": "run",
    "RequestError": "errors",
    "SafetyError": "errors",
    "SharedPipeline": "shared",
    "plan": "canvas",
}
__all__ = [
    "BackendUnavailable",
    "Engine",
    "EngineError",
    "EngineOptions",
    "EngineSet",
    "EngineSetError",
    "FunctionEngine",
    "ImageError",
    "NumericalError",
    "OutpaintError",
    "OutpaintPipeline",
    "OutpaintRequest",
    "OutpaintResult",
    "OutpaintRun",
    "OutputError",
    "Placement",
    "Progress",
    "RequestError",
    "SafetyError",
    "SharedPipeline",
    "__version__",
    "plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
