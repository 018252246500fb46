"""The plug-in `onnxruntime-ep-openvino`: its CPU device, its options, and sessions of graphs that it takes whole."""

import importlib
import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import EngineSetError
from .attention import attention_spelled_out
from .fixed_shapes import Shapes
from .model_cache import written
from .session import installed, open_session

__all__ = [
    "DISTRIBUTION",
    "PLUGIN",
    "PROVIDER",
    "compiled_session",
    "cpu_device",
    "facts",
    "kept_session",
    "provider_options",
    "versions",
]

PROVIDER, PLUGIN, DISTRIBUTION = "OpenVINOExecutionProvider", "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"
COMPILED = "compiled.onnx"
"""A graph of one node, an EPContext that names the file of the compiled model beside it."""


@cache
def cpu_device() -> Any:
    """The plug-in's CPU device, or None where it offers none; the plug-in is registered once a process."""
    import onnxruntime

    def found() -> list[Any]:
        devices = onnxruntime.get_ep_devices()
        return [each for each in devices if each.ep_name == PROVIDER and each.ep_metadata.get("ov_device") == "CPU"]

    # Another package in this process may have registered it.
    if not found():
        library = importlib.import_module(PLUGIN).get_library_path()
        onnxruntime.register_execution_provider_library(DISTRIBUTION, library)
    return next(iter(found()), None)


def versions() -> tuple[str, ...]:
    """Of the two distributions."""
    return tuple(f"{name} {installed(name)}" for name in ("onnxruntime", DISTRIBUTION))


def facts(device: Any) -> tuple[str, ...]:
    """What tells one processor from another."""
    return tuple(device.ep_metadata.get(name, "") for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))


def provider_options(settings: Mapping[str, str], shapes: Shapes | None) -> dict[str, str]:
    """The plug-in's options: OpenVINO's own `settings` as JSON, and the shapes that a graph is compiled for."""
    # Layers report what they compute in; that costs nothing that could be measured.
    reporting = {**settings, "PERF_COUNT": "YES"}
    fixed = ",".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes or () if shape)
    return {"load_config": json.dumps({"CPU": reporting}), **({"reshape_input": fixed} if fixed else {})}


def kept_session(kept: Path | None, session_options: Any) -> Any:
    """A session of what was compiled before; None where there is nothing, or nothing that can be loaded."""
    if kept is None or not kept.exists():
        return None
    try:
        return open_session(kept / COMPILED, session_options)
    except EngineSetError:
        shutil.rmtree(kept, ignore_errors=True)
        return None


def compiled_session(path: Path, session_options: Any, kept: Path | None) -> Any:
    """A session of the graph at `path`, whose compiled form is left in `kept`.

    The plug-in's own cache (CACHE_DIR) is not used: with fixed shapes OpenVINO 2026.4 takes what it compiled in one
    precision for the same graph in another and answers with NaN, and it held a full-size UNet's weights twice.
    """
    with written(kept) as folder:
        if folder is not None:
            session_options.add_session_config_entry("ep.context_enable", "1")
            session_options.add_session_config_entry("ep.context_embed_mode", "0")
            session_options.add_session_config_entry("ep.context_file_path", str(folder / COMPILED))
        return open_session(path, session_options, rewrite=attention_spelled_out)
