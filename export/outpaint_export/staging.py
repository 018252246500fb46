"""Puts an output folder in place in one move, so that no half-written engine set is ever left behind.

Knows nothing of what is written.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outpaint_engine.engine_set import MANIFEST

from .errors import DestinationError

__all__ = ["check_destination", "staged"]


@contextmanager
def staged(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder beside `out`; rename it to `out` if the block succeeds.

    On any exception, Ctrl-C too, the partial folder is deleted and `out` is as it was.

    Raises:
        DestinationError: `out` is a file or a link, holds something and `overwrite` is off, or holds something
            that is not an engine set; or its parent folder does not exist.
    """
    out = Path(os.path.abspath(out))
    check_destination(out, overwrite)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    partial, old = scratch / "partial", scratch / "old"
    partial.mkdir()
    try:
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_destination(out: Path, overwrite: bool) -> None:
    """Raise a `DestinationError` where `staged` would, before any long work is begun."""
    if not out.parent.is_dir():
        raise DestinationError(
            f"The folder {out.parent} does not exist, so {out.name} cannot be made in it. Make it first."
        )
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DestinationError(f"{out} is not a folder. Give the name of a new folder.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise DestinationError(
            f"{out} is not empty. Give another folder, or `--overwrite` to replace the engine set there."
        )
    if not (out / MANIFEST).exists() and not (out / "model_index.json").exists():
        raise DestinationError(
            f"{out} holds something that is not an engine set, so it is not replaced. Give another folder."
        )
