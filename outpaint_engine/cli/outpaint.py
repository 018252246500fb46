"""`outpaint run` and `outpaint plan`: a picture in, a wider picture or its plan out."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from .. import __version__
from ..canvas import CanvasPlan
from ..canvas import plan as plan_canvas
from ..detail import large_buckets
from ..engine_set import EngineSet
from ..engines import EngineOptions
from ..images import (
    FORMATS,
    Picture,
    check_target,
    encode,
    open_picture,
    read_limited,
    to_image,
    write_all,
)
from ..images.credentials import original_of as signed_original
from ..pipeline import OutpaintPipeline
from ..recipe import whole_calls
from ..request import OutpaintRequest
from ..run import OutpaintResult, OutpaintRun
from .adapters import Adapters, adapter_options
from .options import (
    credentials_of,
    credentials_options,
    detail_of,
    detail_options,
    engine_options,
    mask_option,
    placement_of,
    placement_options,
    sampling_options,
)
from .results import files_of, numbered, original_of

__all__ = ["plan", "run"]


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@placement_options
@mask_option
@detail_options
@sampling_options
@engine_options
@adapter_options
@click.option(
    "--batch", type=click.IntRange(1), help="With --num-images: at most this many in one call. [what memory allows]"
)
@click.option(
    "--metadata/--no-metadata", default=True, help="Say in OUT that a model painted it, and on which request. [on]"
)
@credentials_options
@click.option("--srgb", is_flag=True, help="Write 8-bit sRGB, also for a picture of 16 bits or with a colour profile.")
@click.option("--json", "as_json", is_flag=True, help="Print seed, timings and quality as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar, no summary.")
def run(source: str, target: str, engines: str, device: str, batch: int | None, **options: Any) -> None:
    """Extend the picture IN and write it to OUT; `-` is standard input or output.

    \b
    outpaint run photo.png wide.png --left 128 --right 128 --prompt "sunset mountains"
    outpaint run photo.png square.png --aspect 1:1 --prompt "night sea with moon"
    """  # noqa: D301 - click keeps the lines after the character \b
    metadata, srgb, as_json, quiet = (options.pop(name) for name in ("metadata", "srgb", "as_json", "quiet"))
    if as_json and target != "-":
        _check_standard_output()
    adapters = Adapters.of(options)
    loading = {name: options.pop(name) for name in ("precision", "threads", "cuda_graph")}
    suffix = _suffix(target)
    credentials = credentials_of(options, suffix, metadata=metadata)
    given = _given(source)
    picture = open_picture(given)
    placement, detail = placement_of(picture.size, options), detail_of(options)
    original = None if srgb else original_of(given, suffix, placement)
    # What `--speed` stands for and nobody stated is left to it.
    stated = {name: value for name, value in options.items() if value is not None}
    request = OutpaintRequest.placed(image=picture, **dataclasses.asdict(placement), detail=detail, **stated)
    targets = _targets(target, request.num_images)
    native_size = EngineSet.open(engines, verify=False).native_size
    chosen = EngineOptions(**loading, buckets=large_buckets(request, native_size, batch))
    with OutpaintPipeline.from_pretrained(
        engines, device=device, options=chosen, max_batch=batch, loras=adapters.loras
    ) as pipe:
        adapters.load(pipe)
        started = pipe.steps(request)
        for note in started.notes:
            click.echo(f"Note: {note}", err=True)
        result = _with_progress(started, quiet)
    for note in result.notes[len(started.notes) :]:
        click.echo(f"Note: {note}", err=True)
    contents = files_of(request, result, original, suffix, metadata=metadata)
    if credentials:
        contents = [credentials.sign(each, suffix, signed_original(given), __version__) for each in contents]
    if target == "-":
        sys.stdout.buffer.write(contents[0])
        sys.stdout.buffer.flush()
    else:
        write_all(dict(zip(targets, contents, strict=True)))
    if as_json:
        click.echo(json.dumps(_report(result)), err=target == "-")
    elif not quiet:
        click.echo(_summary(target, result), err=True)


@click.command()
@click.argument("source", metavar="IN")
@placement_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--mask", type=click.Path(path_type=Path), help="Also write the mask as a picture: white is painted.")
def plan(source: str, mask_expand: int, as_json: bool, mask: Path | None, **options: Any) -> None:
    """Say what would be painted for the picture IN, without any model."""
    _check_standard_output()
    picture = open_picture(_given(source))
    request = OutpaintRequest(
        image=None, mask_expand=mask_expand, **dataclasses.asdict(placement_of(picture.size, options))
    )
    placement = request.placement
    opaque = None if picture.opaque is None else picture.resized(placement.scaled(picture.size)).opaque
    found = plan_canvas(picture.size, placement, mask_expand, opaque)
    if mask is not None:
        _check_file(mask)
        write_all({mask: encode(to_image((found.mask * 255).astype("uint8")), _suffix(str(mask)))})
    click.echo(json.dumps(_plan_facts(found)) if as_json else _plan_text(picture, found))


def _with_progress(started: OutpaintRun, quiet: bool) -> OutpaintResult:
    """Iterate with a bar on standard error, when that is a terminal."""
    hidden = quiet or sys.stderr is None or not sys.stderr.isatty()
    with tqdm(desc="painting", unit="step", disable=hidden, file=sys.stderr) as bar:
        for progress in started:
            bar.total = progress.steps
            bar.update(progress.step - bar.n)
    return started.result


def _given(source: str) -> str | bytes:
    """What names the picture, or its bytes from standard input."""
    if source != "-":
        return source
    if sys.stdin is None:
        raise click.UsageError("Standard input is closed: name a file, or send a picture to it.")
    if sys.stdin.isatty():
        raise click.UsageError("Standard input is a terminal: name a file, or send a picture to it with < or |.")
    return read_limited(sys.stdin.buffer, "Standard input")


def _suffix(target: str) -> str:
    """The file ending of OUT, checked before any work is done."""
    if target == "-":
        return ".png"
    path = Path(target)
    if path.suffix.lower() not in FORMATS:
        raise click.UsageError(f"OUT must end in {', '.join(FORMATS)}; not {path.name!r}.")
    return path.suffix.lower()


def _targets(target: str, count: int) -> list[Path]:
    """The files to write, checked before any work is done."""
    if target == "-":
        if count > 1:
            raise click.UsageError("Several pictures cannot go to standard output: name a file.")
        _check_standard_output()
        return []
    paths = numbered(Path(target), count)
    for each in paths:
        _check_file(each)
    return paths


def _check_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise click.UsageError(f"The folder {str(path.parent)!r} does not exist: make it first.")
    if path.is_dir():
        raise click.UsageError(f"{str(path)!r} is a folder: name the file to write.")
    check_target(path)


def _check_standard_output() -> None:
    if sys.stdout is None:
        raise click.UsageError("Standard output is closed, and the result would go there.")


def _report(result: OutpaintResult) -> dict[str, Any]:
    return {
        "seeds": result.seeds,
        "backend": result.backend,
        "device": result.device,
        "precision": result.precision,
        "engine_set": result.engine_set,
        "noise": result.noise,
        "whole_unet_calls": whole_calls(result),
        "timings": {
            **result.timings.stages,
            "steps": result.timings.steps,
            "rows": result.timings.rows,
            "total": result.timings.total,
        },
        "quality": [dataclasses.asdict(quality) for quality in result.quality],
        "safety": [dataclasses.asdict(each) for each in result.safety],
        "notes": list(result.notes),
    }


def _summary(target: str, result: OutpaintResult) -> str:
    seeds = ", ".join(map(str, result.seeds))
    return f"{target}: {result.timings.total:.1f} s on {result.backend} ({result.precision}), seed {seeds}"


def _plan_facts(found: CanvasPlan) -> dict[str, Any]:
    return {
        "canvas": [found.placement.width, found.placement.height],
        "picture": list(found.scaled_size),
        "placed": dataclasses.asdict(found.placed),
        "visible": dataclasses.asdict(found.visible),
        "unknown_share": found.unknown_share,
        "painted_share": float(found.mask.mean()),
        "warnings": list(found.warnings),
    }


def _plan_text(picture: Picture, found: CanvasPlan) -> str:
    box, placement = found.visible, found.placement
    lines = [
        f"picture   {picture.size[0]}x{picture.size[1]}, on the canvas {found.scaled_size[0]}x{found.scaled_size[1]}",
        f"canvas    {placement.width}x{placement.height}",
        f"visible   ({box.left}, {box.top}) to ({box.right}, {box.bottom})",
        f"painted   {found.mask.mean():.0%} of the canvas, {found.unknown_share:.0%} unknown to begin with",
    ]
    return "\n".join(lines + [f"note      {warning}" for warning in found.warnings])
