"""Engine sets in a Hugging Face hub cache, where `snapshots/REVISION/` holds links to the files in `blobs/`.

The runtimes refuse weights that a link leads out of the graph's folder to, and rightly so. Hard links have no such
end: the same files, under the same names, in a folder of the cache's own. They take no space.
"""

import os
from pathlib import Path

from ..errors import EngineSetError

__all__ = ["without_links"]

OURS = ".outpaint_engine"
"""A folder beside `blobs` and `snapshots`."""


def without_links(folder: Path) -> Path:
    """The folder itself; or, where it lies in a hub cache and has links, one of the same files without links.

    Raises:
        EngineSetError: a link leads out of the cache's `blobs`, or the other folder cannot be made.
    """
    given, folder = folder, folder.resolve()
    repository = _repository(folder)
    files = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()] if repository else []
    if repository is None or not any(path.is_symlink() for path in files):
        return given
    other = repository / OURS / folder.relative_to(repository / "snapshots")
    for path in files:
        real = path.resolve()
        if path.is_symlink() and not (real.is_relative_to(repository / "blobs") and real.is_file()):
            raise EngineSetError(f"{path} is a link out of the hub cache's blobs. Download the engine set again.")
        try:
            _link(real, other / path.relative_to(folder))
        except OSError as error:
            raise EngineSetError(
                f"{folder} holds links, and {other} cannot take their files: {error.strerror}. "
                f"Copy the files themselves: cp -rL {folder} engines."
            ) from error
    return other


def _repository(folder: Path) -> Path | None:
    """The folder of the hub cache's repository that a snapshot, or a folder in it, belongs to."""
    for parent in folder.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return parent.parent
    return None


def _link(real: Path, place: Path) -> None:
    """Make `place` the same file, in one step: other processes may read it."""
    if place.exists() and place.samefile(real):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}-{os.getpid()}")
    part.unlink(missing_ok=True)
    part.hardlink_to(real)
    part.replace(place)
    part.unlink(missing_ok=True)
