"""Whether an engine set's files were compared with their manifest before, and are the same files still.

Hashing a full-size set takes longer than mapping it. What was compared is noted in the user's cache folder, with each
file's size, times and number in the file system: as long as these are the same, nobody has written to it.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from ..cache import cache_folder, make_room, write_whole
from .engine_set import EngineSet

__all__ = ["verify_changed"]

MOST_BYTES = 2**18
"""Of all notes; those of a set take two kilobytes."""
Stamp = dict[str, list[int]]


def verify_changed(engine_set: EngineSet) -> None:
    """Compare the files with the manifest, unless that was done and none has changed since.

    Raises:
        EngineSetError: a file differs; the message names it.
    """
    if not engine_set.digest:
        return
    # Before the files are read, so that what is written meanwhile is seen the next time.
    now, note = _stamp(engine_set), _note(engine_set)
    if _noted(note) == now:
        return
    engine_set.verify()
    # Without a cache folder that can be written to, every start compares.
    with contextlib.suppress(OSError):
        write_whole(note, json.dumps(now).encode())
        make_room(note.parent, MOST_BYTES)


def _stamp(engine_set: EngineSet) -> Stamp:
    found: Stamp = {}
    for relative in engine_set.paths(plans=False):
        facts = (engine_set.folder / relative).stat()
        found[relative] = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev]
    return found


def _note(engine_set: EngineSet) -> Path:
    what = f"{engine_set.folder.resolve()} {engine_set.digest}"
    return cache_folder("verified") / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _noted(note: Path) -> Stamp | None:
    try:
        found: Stamp = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
