"""Files: pictures that wait to be run, and results. Each is complete and kept before the store names it."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ...errors import OutputError
from .places import PROBE, Place, opened

__all__ = ["Files", "Old"]


class Old(NamedTuple):
    """A file that has not changed for some time."""

    place: Place
    name: str

    @property
    def stem(self) -> str:
        """A job's id, or the name of a result."""
        return Path(self.name).stem

    def drop(self) -> None:
        """Delete it."""
        self.place.drop(self.name)


class Files:
    """A folder, or a URL of an object store, with `pictures/` (until their job ends) and `results/`.

    A result is NAME with its ending, and NAME.json.
    """

    def __init__(self, where: Path | str) -> None:
        """Open or make both.

        Raises:
            OutputError: they cannot be made, or the object store cannot be written.
            BackendUnavailable: what opens such a URL is not installed.
        """
        self._pictures, self._results = opened(where, "pictures"), opened(where, "results")

    def keep_picture(self, job: str, content: bytes) -> None:
        """Keep a job's picture until it has ended."""
        self._pictures.keep(job, content)

    def picture(self, job: str) -> bytes:
        """A job's picture."""
        content = self._pictures.read(job)
        if content is None:
            raise OutputError(f"The picture of the request {job} is gone.")
        return content

    def drop_picture(self, job: str) -> None:
        """Forget a job's picture, if it is there."""
        self._pictures.drop(job)

    def flagged(self, name: str) -> bool | None:
        """Whether the safety checker flagged a result; None where it did not look at it."""
        report = json.loads(self.read(name, ".json") or b"{}").get("safety")
        return any(each["flagged"] for each in report) if report else None

    def keep(self, name: str, suffix: str, picture: bytes, report: bytes) -> None:
        """Keep a result under a name that no other attempt uses."""
        self._results.keep(f"{name}.json", report)
        self._results.keep(f"{name}{suffix}", picture)

    def read(self, name: str, suffix: str) -> bytes | None:
        """A result's bytes; None where it is no longer kept."""
        return self._results.read(f"{name}{suffix}")

    def drop(self, name: str) -> None:
        """Delete a result."""
        for suffix in (".jpg", ".png", ".webp", ".json"):
            self._results.drop(f"{name}{suffix}")

    def probe(self) -> None:
        """Write a file; OutputError where that cannot be done."""
        self._results.keep(PROBE, b"")

    def old(self, older_than: float, at_once: int) -> Iterator[list[Old]]:
        """Files that have not changed for `older_than` seconds, so many at a time; of an object store a part only."""
        for place in (self._pictures, self._results):
            names = place.old(older_than)
            while batch := [Old(place, name) for name in islice(names, at_once)]:
                yield batch
