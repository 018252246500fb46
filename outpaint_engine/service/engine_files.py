"""An engine set that lies elsewhere: fetched to this machine once, into the user's cache folder."""

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ..cache import cache_folder, written_whole
from ..errors import BackendUnavailable, EngineSetError

__all__ = ["engines_here"]


def engines_here(engines: str) -> str:
    """A folder of this machine: `engines` as it is, or where it is a URL (s3://, gs://, hf://...), what is kept of it.

    The first process that needs a URL fetches it whole; others wait for that. What is under a URL is taken to be the
    same for ever.

    Raises:
        EngineSetError: it cannot be fetched.
        BackendUnavailable: fsspec, or what it needs for this kind of URL, is not installed.
    """
    if "://" not in engines:
        return engines
    folder = cache_folder("engine-sets") / hashlib.sha256(engines.encode()).hexdigest()[:32]
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with written_whole(folder) as draft:
                _fetch(engines, draft)
    return str(folder)


def _fetch(url: str, folder: Path) -> None:
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
        files = system.find(path)
        if not files:
            raise EngineSetError(f"There is no engine set at {url}: give the folder that has its model_index.json.")
        for file in files:
            target = folder / file.removeprefix(path).lstrip("/")
            if folder not in target.resolve().parents:
                raise EngineSetError(f"{url} has a file outside of its folder: {file}.")
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(file, str(target))
    except ImportError as error:
        remedy = f"pip install {error.name or 'fsspec'}"
        raise BackendUnavailable(f"{url} needs a library that is not installed. Try: {remedy}") from error
    except (OSError, ValueError) as error:
        raise EngineSetError(f"The engine set {url} cannot be fetched: {error}.") from error


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process of this machine at a time; on Windows two may fetch, and the first one's is kept."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
