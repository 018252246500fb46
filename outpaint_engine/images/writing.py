"""Writing pictures and other results: whole or not at all, and nothing replaced that was not meant to be."""

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from .provenance import Provenance, saving

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "check_target", "encode", "write_all"]

FORMATS: Mapping[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""File endings that can be written."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "JPEG": {"quality": 95},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def encode(image: "Image", suffix: str, provenance: Provenance | None = None) -> bytes:
    """Encode for a file ending of `FORMATS`; the file says where it is from, or nothing at all."""
    buffer, kind = io.BytesIO(), FORMATS[suffix]
    image.save(buffer, kind, **OPTIONS.get(kind, {}), **(saving(kind, provenance) if provenance else {}))
    return buffer.getvalue()


def check_target(path: Path) -> Path:
    """Where a result named `path` is written: behind links, a new file or one that may be replaced.

    Raises:
        OutputError: it is a pipe or a device, read-only, a circle of links, or in a folder that cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OutputError(f"{path} is a link that leads in a circle. Name a file.")
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: the folder {str(folder)!r} does not exist.")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"The folder {str(folder)!r} cannot be written to: choose another one.")
    if target.exists():
        mode = target.stat().st_mode
        if not stat.S_ISREG(mode):
            raise OutputError(f"{path} cannot be written: it is not a file. Name a file, or use - for standard output.")
        # The superuser may write to every file, and means a read-only one as little as others do.
        if not mode & 0o222 or not os.access(target, os.W_OK):
            raise OutputError(f"{path} is read-only. Name another file, or make it writable.")
    return target


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files so that all are complete or none is there: each beside its place first, then all renamed.

    Links are followed; a file that is replaced hands on its permissions.

    Raises:
        OutputError: a file cannot be written.
    """
    parts: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            target = check_target(path)
            handle, name = tempfile.mkstemp(prefix=".outpaint-", dir=target.parent)
            parts[target] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                _take_permissions(file.fileno(), target)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _take_permissions(handle: int, target: Path) -> None:
    """Those of the file that is replaced, else those of a new one."""
    if not target.exists():
        os.fchmod(handle, 0o666 & ~_umask())
        return
    before = target.stat()
    with contextlib.suppress(PermissionError):
        os.fchown(handle, before.st_uid, before.st_gid)
    os.fchmod(handle, stat.S_IMODE(before.st_mode))


def _umask() -> int:
    """The process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
