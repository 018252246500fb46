"""Many pictures: the jobs that a folder or a file of JSON lines asks for, and where the result of each goes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ImageError, RequestError
from .images import FORMATS

__all__ = ["READABLE", "Job", "folder_jobs", "lines_jobs"]

READABLE = (*FORMATS, ".bmp", ".gif")
"""File endings that are looked for in a folder."""


@dataclass(frozen=True)
class Job:
    """One picture to extend; `options` are those of `OutpaintRequest.placed` that are this job's own."""

    image: Path
    target: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    flaw: str = ""
    """Why the job cannot be done, where that is known already."""


def folder_jobs(
    source: Path, out: Path, masks: Path | None = None, aspects: Sequence[str] = (), suffix: str = ".png"
) -> list[Job]:
    """A job for each picture directly in a folder, by name, and for each aspect ratio if there are any.

    A text file of a picture's name holds its prompt; `masks` is a folder with a mask of its name.

    Raises:
        RequestError: there is no picture, or two results would have one name.
    """
    images = [path for path in sorted(source.iterdir()) if path.suffix.lower() in READABLE and path.is_file()]
    if not images:
        raise RequestError(f"{source} holds no picture. Files are looked for by their ending: {', '.join(READABLE)}.")
    jobs = []
    for image in images:
        options, flaw = _own(image, masks)
        for aspect in aspects or ("",):
            name = f"{image.stem}-{aspect.replace(':', 'x')}" if aspect else image.stem
            chosen = {**options, "aspect": aspect} if aspect else options
            jobs.append(Job(image, out / f"{name}{suffix}", chosen, flaw))
    _check_distinct(jobs)
    return jobs


def _own(image: Path, masks: Path | None) -> tuple[dict[str, Any], str]:
    """A picture's own prompt and mask, and what is wrong with them."""
    options: dict[str, Any] = {}
    words = image.with_suffix(".txt")
    try:
        if words.is_file():
            options["prompt"] = words.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return options, f"{words} cannot be read as text. Save it as UTF-8."
    if masks is None:
        return options, ""
    found = [path for path in sorted(masks.glob("*")) if path.stem == image.stem and path.suffix.lower() in READABLE]
    if len(found) != 1:
        return options, f"{masks} has {len(found)} masks named {image.stem}, and one is needed. All black keeps all."
    return {**options, "mask": found[0]}, ""


def lines_jobs(source: Path, out: Path, suffix: str = ".png") -> list[Job]:
    """A job for each line of a file of JSON objects: "image", if wanted "out", and options by their Python names.

    Paths of "image" and "mask" are taken from the file's folder; "out" is a name inside the folder of results.

    Raises:
        ImageError: the file cannot be read.
        RequestError: a line is no such object, or two results would have one name.
    """
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ImageError(f"{source} cannot be read as text: {getattr(error, 'strerror', None) or error}.") from error
    jobs = [_job(source, out, suffix, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not jobs:
        raise RequestError(f"{source} has no line. Write one JSON object a line, with an image.")
    _check_distinct(jobs)
    return jobs


def _job(source: Path, out: Path, suffix: str, number: int, line: str) -> Job:
    where = f"Line {number} of {source}"
    try:
        options = json.loads(line)
    except ValueError as error:
        raise RequestError(f"{where} is not JSON: {error}. Write one object a line.") from error
    if not isinstance(options, dict) or not isinstance(options.get("image"), str):
        raise RequestError(f'{where} is no job: write an object with the path of an "image".')
    image = source.parent / options.pop("image")
    name = options.pop("out", f"{image.stem}{suffix}")
    if not isinstance(name, str) or Path(name).name != name or Path(name).suffix.lower() not in FORMATS:
        raise RequestError(f"{where}: out must be a file name that ends in {', '.join(FORMATS)}; not {name!r:.60}.")
    if isinstance(options.get("mask"), str):
        options["mask"] = source.parent / options["mask"]
    return Job(image, out / name, options)


def _check_distinct(jobs: Iterable[Job]) -> None:
    # As file systems that ignore case see it.
    name, count = Counter(job.target.name.lower() for job in jobs).most_common(1)[0]
    if count > 1:
        images = " and ".join(str(job.image) for job in jobs if job.target.name.lower() == name)
        raise RequestError(f"{images} would both become {name}: give them different names.")
