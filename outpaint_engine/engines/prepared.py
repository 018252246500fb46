"""Graphs as `ort-cpu` runs them, kept in the user's cache folder: optimised, their weights as the kernels read them.

ONNX Runtime makes this of a graph at each load, in memory of the process's own. Saved once, it is mapped by every
process after: they load in a fraction of the time and share the weights, and the bits of what they compute are equal.
A prepared graph holds for the files that it was made of, by their SHA-256, one version of the library and one kind of
processor. What was written to since it was saved is not used.
"""

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cache import cache_folder, make_room, size_in_bytes, written_whole
from ..engine_set import MANIFEST
from ..errors import EngineSetError, OutputError
from ..machine import cpu_flags, cpu_name
from .base import Loading

__all__ = ["MOST_BYTES", "find_prepared", "forget_prepared", "prepare", "prepared_folder"]

MOST_BYTES = 16 * 2**30
"""Of everything that is kept, that is three or four full-size sets; what was used longest ago is deleted."""
LARGER = 3
"""At most this many times the space of its source is what a prepared graph takes: float16 becomes float32."""
GRAPH, WEIGHTS, NOTE = "model.onnx", "model.onnx_data", "prepared.json"
BACKEND = "ort-cpu"
FORM = 1
"""Raise it when what is prepared of a graph changes by this program's doing."""
LEAST_EXTERNAL = "1024"
"""Bytes from which an initializer lies outside the graph, where it can be mapped."""

Open = Callable[[Any], Any]
"""Opens a session of the source with the session options given."""


def prepared_folder() -> Path:
    """Where prepared graphs are kept; all of it may be deleted at any time."""
    return cache_folder("prepared")


def find_prepared(loading: Loading, source: Path) -> Path | None:
    """The graph prepared of `source` for this library and processor; None where there is none."""
    folder = _place(loading, source)
    if folder is None or not folder.is_dir():
        return None
    if _note(folder) != _facts(folder):
        forget_prepared(folder, "it was written to since it was prepared")
        return None
    # It is in use: others make room first.
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder / GRAPH


def forget_prepared(folder: Path, reason: str) -> None:
    """Delete a prepared graph that cannot be used, and say why."""
    warnings.warn(f"The prepared graph in {folder} is not used and deleted: {reason}.", stacklevel=2)
    shutil.rmtree(folder, ignore_errors=True)


def prepare(loading: Loading, source: Path, session_options: Any, open_source: Open) -> Path:
    """Prepare the graph at `source`, unless it is: takes about twice the time of a load, and its memory.

    Raises:
        EngineSetError: the set has no manifest, whose hashes say what a prepared graph was made of.
        OutputError: it cannot be kept: no space, or no right to write.
    """
    folder = _place(loading, source)
    if folder is None:
        raise EngineSetError(
            f"{loading.engine_set.folder} has no {MANIFEST}, so that nothing would say what a prepared graph was made "
            "of. Write one with `outpaint-export adopt`."
        )
    if found := find_prepared(loading, source):
        return found
    needed = LARGER * size_in_bytes(source.parent)
    try:
        with written_whole(folder) as draft:
            if shutil.disk_usage(draft).free < needed:
                raise OutputError(f"Too little space is free for {folder}: up to {needed / 1e9:.1f} GB are needed.")
            _save(draft, session_options, open_source)
            (draft / NOTE).write_text(json.dumps(_facts(draft)), encoding="utf-8")
            make_room(folder.parent, MOST_BYTES)
    except OSError as error:
        raise OutputError(
            f"Prepared graphs cannot be kept in {folder.parent}: {error.strerror}. XDG_CACHE_HOME names another place."
        ) from error
    return folder / GRAPH


def _save(draft: Path, session_options: Any, open_source: Open) -> None:
    session_options.optimized_model_filepath = str(draft / GRAPH)
    for name, value in (
        ("optimized_model_external_initializers_file_name", WEIGHTS),
        ("optimized_model_external_initializers_min_size_in_bytes", LEAST_EXTERNAL),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        session_options.add_session_config_entry(f"session.{name}", value)
    open_source(session_options)


def _place(loading: Loading, source: Path) -> Path | None:
    """The folder whose name says all that a prepared graph depends on; None without a manifest's hashes."""
    import onnxruntime

    artifact = loading.engine_set.artifact(loading.part, "onnx", BACKEND, loading.graph)
    if not artifact.files:
        return None
    made_of = (*sorted(artifact.files.items()), source.name, FORM)
    runs_on = (onnxruntime.__version__, cpu_name(), *sorted(cpu_flags()))
    key = hashlib.sha256(repr((made_of, runs_on)).encode()).hexdigest()[:32]
    return prepared_folder() / f"{loading.part}-{key}"


def _facts(folder: Path) -> dict[str, list[int]]:
    """Size and time of each file."""
    files = {path.name: path.stat() for path in folder.iterdir() if path.name != NOTE}
    return {name: [facts.st_size, facts.st_mtime_ns] for name, facts in sorted(files.items())}


def _note(folder: Path) -> dict[str, list[int]] | None:
    try:
        found: dict[str, list[int]] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
