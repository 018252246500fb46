"""Files: pictures that wait to be run, and results. Each is complete and on disk before the store names it.

A file is written beside its place, synced, renamed, and the folder synced: after a power cut it is whole or absent.
"""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ...errors import OutputError

__all__ = ["Files"]


class Files:
    """One folder with `pictures/` (until their job ends) and `results/` (NAME with its ending, and NAME.json)."""

    def __init__(self, folder: Path) -> None:
        """Make the folders, readable by their owner only.

        Raises:
            OutputError: they cannot be made.
        """
        self._pictures, self._results = folder / "pictures", folder / "results"
        try:
            for place in (self._pictures, self._results):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {folder} cannot be made: {error.strerror}.") from error

    def keep_picture(self, job: str, content: bytes) -> None:
        """Keep a job's picture until it has ended."""
        _write_durably(self._pictures / job, content)

    def picture(self, job: str) -> bytes:
        """A job's picture."""
        return (self._pictures / job).read_bytes()

    def drop_picture(self, job: str) -> None:
        """Forget a job's picture, if it is there."""
        (self._pictures / job).unlink(missing_ok=True)

    def flagged(self, name: str) -> bool | None:
        """Whether the safety checker flagged a result; None where it did not look at it."""
        report = json.loads(self.read(name, ".json") or b"{}").get("safety")
        return any(each["flagged"] for each in report) if report else None

    def keep(self, name: str, suffix: str, picture: bytes, report: bytes) -> None:
        """Keep a result under a name that no other attempt uses."""
        _write_durably(self._results / f"{name}.json", report)
        _write_durably(self._results / f"{name}{suffix}", picture)

    def read(self, name: str, suffix: str) -> bytes | None:
        """A result's bytes; None where it is no longer kept."""
        try:
            return (self._results / f"{name}{suffix}").read_bytes()
        except FileNotFoundError:
            return None

    def drop(self, name: str) -> None:
        """Delete a result."""
        for suffix in (".jpg", ".png", ".webp", ".json"):
            (self._results / f"{name}{suffix}").unlink(missing_ok=True)

    def probe(self) -> None:
        """Write and delete a file; OutputError where that cannot be done."""
        _write_durably(self._results / ".probe", b"")

    def old(self, older_than: float, at_once: int) -> Iterator[list[Path]]:
        """Files that have not changed for `older_than` seconds, so many at a time."""
        latest = time.time() - older_than
        paths = (path for place in (self._pictures, self._results) for path in place.iterdir())
        unchanged = (path for path in paths if _changed(path) < latest)
        while batch := list(itertools.islice(unchanged, at_once)):
            yield batch


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _write_durably(path: Path, content: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written: {error.strerror}.") from error
