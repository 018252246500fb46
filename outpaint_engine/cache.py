"""The user's cache folder: what can be made again at any time, written whole or not at all, and bounded."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cache_folder", "make_room", "size_in_bytes", "write_whole", "written_whole"]

DRAFT = ".draft-"
DEAD_AFTER = 3600.0
"""Seconds after which nobody writes a draft any more: the process that did was killed."""


def cache_folder(name: str) -> Path:
    """This project's folder `name` in XDG_CACHE_HOME, else ~/.cache, on Windows LOCALAPPDATA; it need not exist."""
    stated = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(stated) if stated else Path.home() / ".cache") / "outpaint_engine" / name


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A draft to write in, which becomes `folder` when the block ends well; where another process was faster, its does.

    A process that is killed leaves a draft, which a later one deletes.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{DRAFT}*"):
        if time.time() - left.stat().st_mtime > DEAD_AFTER:
            shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent))
    try:
        yield draft
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file that readers see as it was or as it is to be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=DRAFT, dir=file.parent)
    try:
        with open(handle, "wb") as target:
            target.write(content)
        Path(draft).replace(file)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def make_room(folder: Path, most: int) -> None:
    """Delete what lies in `folder` and was used longest ago, until it takes at most `most` bytes, drafts included."""
    kept = [path for path in folder.glob("*") if not path.name.startswith(DRAFT)]
    for oldest in sorted(kept, key=lambda path: path.stat().st_mtime):
        if size_in_bytes(folder) <= most:
            return
        if oldest.is_dir():
            shutil.rmtree(oldest, ignore_errors=True)
        else:
            oldest.unlink(missing_ok=True)


def size_in_bytes(folder: Path) -> int:
    """Of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
