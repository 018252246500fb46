"""What a run leaves in files: their names, and encoded pictures that say what they are made from."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from ..canvas import Placement
from ..errors import OutputError
from ..images import KEEPING, Original, check_keeping, encode, encode_original, open_original, with_original
from ..recipe import provenance_of
from ..request import OutpaintRequest
from ..run import OutpaintResult

__all__ = ["files_of", "held", "numbered", "original_of"]

STALE = 60
"""Seconds after which the part of a file that a killed run left behind is removed."""


def numbered(path: Path, count: int) -> list[Path]:
    """The files of a result of `count` pictures."""
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]


def original_of(given: str | bytes, suffix: str, placement: Placement) -> Original | None:
    """What of the picture's own samples and profile the result keeps; checked before any work is done."""
    original = open_original(given) if suffix in KEEPING else None
    if original is None:
        return None
    if placement.scale != 1:
        click.echo("Note: The picture is scaled: its 16 bits or profile are not kept, 8-bit sRGB is written.", err=True)
        return None
    check_keeping(suffix, original)
    return original


def files_of(
    request: OutpaintRequest, result: OutpaintResult, original: Original | None, suffix: str, *, metadata: bool
) -> list[bytes]:
    """The pictures of a result, encoded for a file ending."""
    contents = []
    for index, image in enumerate(result.images):
        provenance = provenance_of(request, result, index) if metadata else None
        if original is None:
            contents.append(encode(image, suffix, provenance))
        else:
            contents.append(encode_original(with_original(image, result.plan, original), suffix, provenance))
    return contents


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder for results, and keep other batches and films out of it, on systems that can lock a folder.

    Raises:
        OutputError: it cannot be made, or is held by another process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {str(folder)!r} cannot be made: {error.strerror}. Choose another one."
        ) from error
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for part in folder.glob(".outpaint-*"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > STALE:
                    part.unlink()
        yield
    except BlockingIOError as error:
        raise OutputError(f"Another run writes to {str(folder)!r}. Wait for it, or choose another folder.") from error
    finally:
        os.close(handle)
