"""`outpaint batch`: a folder of pictures or a file of jobs through one loaded model; what is done is not done again."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from tqdm import tqdm

from ..batch import Job, folder_jobs, lines_jobs
from ..canvas import WAYS, way_of
from ..engines import EngineOptions
from ..errors import ImageError, NumericalError, OutpaintError, RequestError, SafetyError
from ..images import FORMATS, open_picture, write_all
from ..pipeline import OutpaintPipeline
from ..request import OutpaintRequest
from ..run import OutpaintResult
from .adapters import Adapters, adapter_options
from .cluster import Cluster, cluster_options
from .options import (
    detail_of,
    detail_options,
    engine_options,
    placement_of,
    placement_options,
    sampling_options,
)
from .results import files_of, held, numbered, original_of

if TYPE_CHECKING:
    from ..service.model import Model

__all__ = ["batch"]


class Files(NamedTuple):
    """What is written into files, and whether nothing is said."""

    metadata: bool
    srgb: bool
    quiet: bool


Waiting = Sequence[tuple[Job, dict[str, Any]]]
"""Jobs with all their options."""
Paint = Callable[[OutpaintRequest], OutpaintResult]
Ended = Iterator[tuple[Job, tuple[str, ...] | OutpaintError]]
"""Jobs as they end, with the notes or with why there is no picture."""
AHEAD = 2
"""Jobs for each painter elsewhere, so that one is read or written while another is painted."""


@dataclass
class Outcome:
    """What became of the jobs."""

    painted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@click.command()
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@placement_options
@click.option("--aspects", help="Several aspect ratios of each picture, such as 1:1,16:9,9:16.")
@click.option(
    "--masks", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A folder with a mask a picture."
)
@click.option("--format", "suffix", type=click.Choice([ending[1:] for ending in FORMATS]), default="png")
@detail_options
@sampling_options
@engine_options
@adapter_options
@cluster_options
@click.option("--batch", "most", type=click.IntRange(1), help="With --num-images: at most this many in one call.")
@click.option("--metadata/--no-metadata", default=True, help="Say in files that a model painted them. [on]")
@click.option("--srgb", is_flag=True, help="Write 8-bit sRGB, also for pictures of 16 bits or with a colour profile.")
@click.option("--json", "as_json", is_flag=True, help="Print what became of each picture as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar, no notes, no summary.")
def batch(source: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Extend every picture in the folder IN and write the results to the folder OUT.

    A text file of a picture's name (photo.txt beside photo.png) holds its prompt. IN may also be a file of JSON lines:
    {"image": "photo.png", "out": "wide.png", "prompt": "sea", "left": 128}, with options by their Python names; those
    of the command line hold where a line says nothing.

    What is in OUT already is left out, so the same command goes on after a crash. A picture that fails does not stop
    the others. Exit code 1 if one failed.

    With --cluster the pictures are painted on a Ray cluster; this process reads and writes all files.

    \b
    outpaint batch photos wide --aspects 1:1,16:9,9:16 --prompt "interior" --seed 7
    outpaint batch jobs.jsonl wide
    """  # noqa: D301 - click keeps the lines after the character \b
    suffix, files = f".{options.pop('suffix')}", Files(*(options.pop(name) for name in ("metadata", "srgb", "quiet")))
    jobs = _jobs(source, out, suffix, options)
    loading = {name: options.pop(name) for name in ("precision", "threads", "cuda_graph")}
    folder, device, most = (options.pop(name) for name in ("engines", "device", "most"))
    adapters, cluster = Adapters.of(options), Cluster.of(options)
    if cluster is not None and most is not None:
        raise click.UsageError("--batch is for one machine: leave it out with --cluster.")
    detail = detail_of(options)
    stated = {name: value for name, value in options.items() if value is not None} | {"detail": detail}
    with held(out):
        outcome, waiting = _waiting(jobs, stated)
        if waiting:
            chosen = EngineOptions(**loading)
            if cluster is not None:
                with cluster.painters(_model(folder, device, chosen, adapters)) as painters:
                    _note_down(_side_by_side(painters, AHEAD * painters.most, waiting, files), waiting, files, outcome)
            else:
                with OutpaintPipeline.from_pretrained(
                    folder, device=device, options=chosen, max_batch=most, loras=adapters.loras
                ) as pipe:
                    adapters.load(pipe)
                    _note_down(_in_turn(pipe, waiting, files), waiting, files, outcome)
    if as_json:
        click.echo(json.dumps({"painted": outcome.painted, "skipped": outcome.skipped, "failed": outcome.failed}))
    if not files.quiet:
        counts = (len(outcome.painted), len(outcome.skipped), len(outcome.failed))
        click.echo("{} painted, {} there already, {} failed.".format(*counts), err=True)
    if outcome.failed:
        sys.exit(1)


def _jobs(source: Path, out: Path, suffix: str, options: dict[str, Any]) -> list[Job]:
    """The jobs, with what holds for all of them checked; takes `aspects` and `masks` out of the options."""
    aspects, masks = options.pop("aspects"), options.pop("masks")
    if not source.is_dir():
        if aspects or masks:
            raise click.UsageError("--aspects and --masks go with a folder: write aspect and mask into the lines.")
        return lines_jobs(source, out, suffix)
    if out.exists() and out.samefile(source):
        raise click.UsageError("OUT must be another folder than IN: results are not painted again.")
    if aspects and options["aspect"]:
        raise click.UsageError("Give --aspect for one, or --aspects for several, not both.")
    ratios = [ratio.strip() for ratio in aspects.split(",")] if aspects else []
    # What no picture could be placed by is said before any work is done.
    with contextlib.suppress(RequestError):
        for ratio in ratios or [options["aspect"]]:
            placement_of((512, 512), {**options, "aspect": ratio, "mask": masks})
    return folder_jobs(source, out, masks, ratios, suffix)


def _model(folder: str, device: str, options: EngineOptions, adapters: Adapters) -> "Model":
    from ..lora_models import Loras
    from ..service.model import Model

    return Model(folder, device, options, 1, False, Loras.of(adapters.loras), adapters.lora, adapters.embeddings)


def _waiting(jobs: Sequence[Job], stated: Mapping[str, Any]) -> tuple[Outcome, Waiting]:
    """The jobs that are not done yet, with all their options."""
    outcome, waiting = Outcome(), []
    for job in jobs:
        # A job that says its placement in one way does not mean what the command line says in another.
        ways = {way for way, names in WAYS.items() if any(name in job.options for name in names)}
        other = sum((names for way, names in WAYS.items() if ways and way not in ways), ())
        fields = {name: value for name, value in stated.items() if name not in other}
        fields |= {name: tuple(each) if isinstance(each, list) else each for name, each in job.options.items()}
        count = fields.get("num_images", 1)
        if isinstance(count, int) and all(path.is_file() for path in numbered(job.target, count)):
            outcome.skipped.append(str(job.target))
        else:
            waiting.append((job, fields))
    return outcome, waiting


def _note_down(ended: Ended, waiting: Waiting, files: Files, outcome: Outcome) -> None:
    """Tell of each job as it ends."""
    hidden, said = files.quiet or sys.stderr is None or not sys.stderr.isatty(), set[str]()
    with tqdm(total=len(waiting), unit="picture", disable=hidden, file=sys.stderr) as bar:
        for job, told in ended:
            bar.set_description(job.target.name, refresh=False)
            bar.update()
            if isinstance(told, OutpaintError):
                outcome.failed[str(job.target)] = str(told)
                tqdm.write(f"{job.image}: {told}", file=sys.stderr)
                continue
            outcome.painted.append(str(job.target))
            for note in told:
                if note not in said and not files.quiet:
                    said.add(note)
                    tqdm.write(f"Note: {job.image}: {note}", file=sys.stderr)


def _in_turn(paint: Paint, waiting: Waiting, files: Files) -> Ended:
    """One job after the other."""
    for job, fields in waiting:
        yield job, _tried(paint, job, fields, files)


def _side_by_side(paint: Paint, at_once: int, waiting: Waiting, files: Files) -> Ended:
    """So many jobs at one time, each in a thread."""
    threads = ThreadPoolExecutor(at_once)
    try:
        trying = {threads.submit(_tried, paint, job, fields, files): job for job, fields in waiting}
        for future in as_completed(trying):
            yield trying[future], future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _tried(paint: Paint, job: Job, fields: dict[str, Any], files: Files) -> tuple[str, ...] | OutpaintError:
    """What is wrong with one job does not stop the others."""
    try:
        if job.flaw:
            raise RequestError(job.flaw)
        return _painted(paint, job, fields, files)
    except (ImageError, NumericalError, RequestError, SafetyError) as error:
        return error


def _painted(paint: Paint, job: Job, fields: dict[str, Any], files: Files) -> tuple[str, ...]:
    """Paint a job and write its files, as `outpaint run` does; gives the notes."""
    picture, suffix = open_picture(job.image), job.target.suffix.lower()
    if not way_of(fields):
        if fields.get("mask") is None:
            raise RequestError("Nothing says how far to extend it: give sides, an aspect, or width and height.")
        fields = {**fields, "left": 0}
    request = OutpaintRequest.placed(**{**fields, "image": picture})
    original = None if files.srgb else original_of(str(job.image), suffix, request.placement)
    result = paint(request)
    contents = files_of(request, result, original, suffix, metadata=files.metadata)
    write_all(dict(zip(numbered(job.target, request.num_images), contents, strict=True)))
    return result.notes
