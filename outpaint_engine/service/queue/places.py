"""Where files are kept: in a folder of this machine, or in an object store, which several machines reach.

Both keep a file whole or not at all, and return when it is kept. Names are made by the service, never by a request.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from ...errors import BackendUnavailable, OutputError

__all__ = ["PROBE", "Place", "opened"]

MODIFIED = ("LastModified", "mtime", "updated", "last_modified", "created")
"""What the file systems of fsspec call the time of an object."""
SHARDS = 256
PROBE = ".probe"
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


class Place(Protocol):
    """Files by name. Every call raises `OutputError` or `OSError` where the place cannot be reached or written."""

    def keep(self, name: str, content: bytes) -> None:
        """Write a file, or write it anew."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""

    def old(self, older_than: float) -> Iterator[str]:
        """Names of files that have not changed for so many seconds: all of them, or some at each call."""


def opened(where: str | Path, part: str) -> Place:
    """A part of a folder, or of what a URL names that fsspec opens: s3://BUCKET/..., gs://BUCKET/..., file:///...

    Raises:
        OutputError: it cannot be made or written.
        BackendUnavailable: what opens such a URL is not installed.
    """
    scheme, found, rest = str(where).partition("://")
    if not found:
        return _Folder(Path(where) / part)
    if scheme in ("file", "local"):
        return _Folder(Path(rest) / part)
    return _Bucket(f"{where}".rstrip("/") + f"/{part}")


class _Folder:
    """Files of a folder, readable by their owner only.

    A file is written beside its place, synced, renamed, and the folder synced: after a power cut it is whole or absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {folder} cannot be made: {error.strerror}.") from error

    def keep(self, name: str, content: bytes) -> None:
        path = self._folder / name
        try:
            handle, part = tempfile.mkstemp(prefix=".part-", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise OutputError(f"{name} cannot be written: {error.strerror}.") from error

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def drop(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def old(self, older_than: float) -> Iterator[str]:
        latest = time.time() - older_than
        return (path.name for path in self._folder.iterdir() if _changed(path) < latest)


class _Bucket:
    """Objects of an object store, where a put is whole or not at all by itself, and durable when it is answered."""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        package = f'"outpaint_engine[{EXTRAS[scheme]}]"' if scheme in EXTRAS else "fsspec, and what it asks for"
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise BackendUnavailable(
                f"Results cannot be kept in {scheme}://: {error}. Try: pip install {package}"
            ) from error
        except ValueError as error:
            raise OutputError(f"Results cannot be kept in {scheme}://: {error}.") from error
        self._shards = count()
        # What is wrong with a key or a name is said at the start.
        self.keep(PROBE, b"")

    def keep(self, name: str, content: bytes) -> None:
        with _told(f"{name} cannot be written"):
            self._files.pipe_file(self._path(name), content)

    def read(self, name: str) -> bytes | None:
        with _told(f"{name} cannot be read"):
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    def drop(self, name: str) -> None:
        with _told(f"{name} cannot be deleted"), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def old(self, older_than: float) -> Iterator[str]:
        """One of 256 parts at each call, by how names begin: a listing comes whole, and is paid for."""
        latest, shard = time.time() - older_than, f"{next(self._shards) % SHARDS:02x}"
        with _told("The results cannot be listed"):
            found = self._files.find(self._root, detail=True, prefix=shard)
        names = ((path.rpartition("/")[2], facts) for path, facts in found.items())
        return (name for name, facts in names if name.startswith(shard) and _modified(facts) < latest)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Each library of an object store has errors of its own, some of which are no OSError."""
    try:
        yield
    except Exception as error:
        raise OutputError(f"{what}: {type(error).__name__}, {error}.") from error


def _modified(facts: Mapping[str, Any]) -> float:
    """Unix seconds; for ever new where the object store does not say."""
    said = next((facts[name] for name in MODIFIED if facts.get(name)), None)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    if isinstance(said, datetime):
        return said.timestamp()
    return said if isinstance(said, float) else float("inf")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
