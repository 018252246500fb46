"""ONNX Runtime's sessions: opened without falling back, and checked for what really runs them."""

import importlib.metadata
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine_set import Artifact
from ..errors import BackendUnavailable, EngineSetError
from .base import EngineOptions, usable_cores

__all__ = [
    "check_assignment",
    "check_precision",
    "check_provider",
    "graph_precision",
    "installed",
    "open_session",
    "recorded",
    "settings",
]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime reads it once, when it is first imported; see its Privacy.md. A setting of the user's own stays."""
FATAL = 4
"""Log severity: failures reach the caller as exceptions, and need not be printed as well."""
HEAVY = frozenset({"Attention", "Conv", "Gemm", "GroupNormalization", "LayerNormalization", "MatMul", "Softmax"})
"""Operators whose running on another provider than asked for would not be what was asked for."""

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"

Provider = str | tuple[str, Mapping[str, str]]
Rewrite = Callable[[bytes], bytes]


def settings(options: EngineOptions) -> Any:
    """Session options that every provider shares."""
    import onnxruntime

    found = onnxruntime.SessionOptions()
    found.log_severity_level = FATAL
    found.intra_op_num_threads = options.threads or usable_cores()
    return found


def recorded(session_options: Any) -> Any:
    """Session options with which a session remembers which provider takes which node, for `check_assignment`."""
    session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return session_options


def open_session(
    path: Path, session_options: Any, providers: Sequence[Provider] = (), rewrite: Rewrite | None = None
) -> Any:
    """A session of the graph at `path`, or of what `rewrite` makes of it. It never falls back to other providers.

    Without `providers` it runs on those in its options.

    Raises:
        EngineSetError: the graph cannot be loaded.
    """
    import onnxruntime

    try:
        source: str | bytes = str(path)
        if rewrite:
            content = path.read_bytes()
            rewritten = rewrite(content)
            if rewritten is not content:
                source = rewritten
                # Where the weights lie, for a graph that is handed over as bytes.
                session_options.add_session_config_entry(WEIGHTS_FOLDER, str(path.parent))
        return onnxruntime.InferenceSession(source, session_options, list(providers) or None, enable_fallback=0)
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


def check_assignment(session: Any, engine: str, providers: Collection[str], *, light_elsewhere: bool = False) -> None:
    """Compare the provider of every node with those that should run it; `session` was opened with `recorded` options.

    `light_elsewhere`: arithmetic on shapes and the like may stay on the CPU.

    Raises:
        BackendUnavailable: nodes would run elsewhere; the message names them.
    """
    nodes, strangers = 0, []
    for graph in session.get_provider_graph_assignment_info():
        nodes += len(graph.get_nodes())
        if graph.ep_name not in providers:
            strangers += [node for node in graph.get_nodes() if not light_elsewhere or node.op_type in HEAVY]
    if strangers:
        names = ", ".join(f"{node.op_type} {node.name}" for node in strangers[:5])
        raise BackendUnavailable(
            f"{engine} would leave {len(strangers)} of {nodes} nodes to another provider ({names}"
            f"{', ...' if len(strangers) > 5 else ''}), because {' and '.join(providers)} does not take them. "
            "Use --device cpu, or export the checkpoint again with a lower --opset."
        )


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


def installed(distribution: str) -> str:
    """The version of an installed distribution, else an empty text."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
