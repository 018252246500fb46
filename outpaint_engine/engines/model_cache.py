"""Compiled models in the user's cache folder, so that the next start need not compile them again.

One folder a shape: CACHE/outpaint_engine/openvino/ENGINE SET/PART/COMPILED FOR/SHAPE, the first and the third as
digests. All of it may be deleted at any time.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..engine_set import EngineSet
from .fixed_shapes import Shapes

__all__ = ["cache_folder", "written"]

KEPT_SHAPES = 3
"""Of each part of an engine set, on disk; a full-size UNet takes 3.4 GB a shape."""
SPACE = 3
"""A compiled model holds float32 weights, twice a float16 file; free space must be this many times the graph's size."""


def cache_folder(engine_set: EngineSet, part: str, compiled_for: Sequence[str], shapes: Shapes | None) -> Path | None:
    """Where one compiled part is kept; it exists if it was compiled before. The shapes used longest ago are deleted.

    `compiled_for` is everything besides graph and shapes that a compiled model depends on. None where nothing can be
    kept, because the cache cannot be written to or the disk is full: a warning says so, and every start compiles anew.
    """
    top = user_cache() / "outpaint_engine" / "openvino"
    parent = top / _identity(engine_set, part) / part / _digest("\n".join(compiled_for))
    folder = parent / ("_".join("x".join(map(str, shape)) for _, shape in shapes) if shapes else "free")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            os.utime(folder)
            return folder
        latest = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in latest[KEPT_SHAPES - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        problem = "" if os.access(parent, os.W_OK) else "it cannot be written to"
        if shutil.disk_usage(parent).free < SPACE * engine_set.size_of(part):
            problem = "too little space is free"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        warnings.warn(
            f"Compiled models cannot be kept in {top}: {problem}. Each start compiles them anew; XDG_CACHE_HOME names "
            "another place.",
            stacklevel=2,
        )
    return None if problem else folder


@contextlib.contextmanager
def written(folder: Path | None) -> Iterator[Path | None]:
    """A folder to write in, which becomes `folder` when the block ends well; None for None."""
    if folder is None:
        yield None
        return
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        yield draft
        # Another process may have been faster.
        with contextlib.suppress(OSError):
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def user_cache() -> Path:
    """XDG_CACHE_HOME, else ~/.cache, on Windows LOCALAPPDATA."""
    stated = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return Path(stated) if stated else Path.home() / ".cache"


def _identity(engine_set: EngineSet, part: str) -> str:
    """Of the manifest's digest; without a manifest, of the graph's file as it lies there."""
    if engine_set.digest:
        return engine_set.digest[:16]
    path = (engine_set.folder / engine_set.artifact(part).file).resolve()
    facts = path.stat()
    return _digest(f"{path} {facts.st_size} {facts.st_mtime_ns}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
