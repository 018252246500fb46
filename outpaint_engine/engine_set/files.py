"""Files of an engine set: only regular ones inside its folder are read, and each has a SHA-256."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import EngineSetError

__all__ = ["BUILD_AGAIN", "EXPORT_AGAIN", "MANIFEST", "REMEDY", "digest_of", "read_json", "regular_file"]

MANIFEST = "engine_set.json"
EXPORT_AGAIN = "export it again with `outpaint-export onnx SOURCE {folder}`."
BUILD_AGAIN = "build its plans again with `outpaint-export tensorrt {folder}`."
REMEDY = EXPORT_AGAIN[0].upper() + EXPORT_AGAIN[1:]


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def regular_file(folder: Path, relative: str) -> Path:
    """The path of a file named by a manifest: a regular file inside `folder`, reached without links."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or ":" in relative or not pure.parts:
        raise EngineSetError(f"{folder / MANIFEST} names {relative!r}; only files inside the folder may be named.")
    path = folder
    for piece in pure.parts:
        path = path / piece
        if path.is_symlink():
            raise EngineSetError(f"{path} is a link. Engine files must be regular files: copy the file itself there.")
    if not path.is_file():
        raise EngineSetError(f"{path} is missing. " + REMEDY.format(folder=folder))
    return path


def read_json(folder: Path, relative: str) -> dict[str, Any]:
    """A JSON object of the set.

    Raises:
        EngineSetError: the file is missing, outside the folder, or holds something else.
    """
    path = regular_file(folder, relative)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise EngineSetError(f"{path} is not readable JSON: {error}. " + REMEDY.format(folder=folder)) from error
    if not isinstance(content, dict):
        raise EngineSetError(f"{path} should hold a JSON object. " + REMEDY.format(folder=folder))
    return content
