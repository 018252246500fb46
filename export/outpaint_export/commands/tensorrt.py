"""`outpaint-export tensorrt`: its options, its progress, and what it prints. Builds nothing itself."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engines import FLAVOURS, Flavour
from outpaint_engine.request import MAX_SIDE

from ..tensorrt.profiles import SMALLEST_SIDE, Buckets

__all__ = ["tensorrt_command"]

STAGE_WORDS = {"type": "typing", "check": "comparing", "build": "building"}
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def _listed(read: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback for entries with commas between them, each read by `read`, which raises `ValueError` for bad ones."""

    def entries(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[object, ...]:
        try:
            return tuple(dict.fromkeys(read(entry.strip()) for entry in (text or "").split(",") if entry.strip()))
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return entries


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(SMALLEST_SIDE <= side <= MAX_SIDE and side % 8 == 0 for side in sides):
        raise ValueError(
            f"{text!r} is not WIDTHxHEIGHT with sides of {SMALLEST_SIDE} to {MAX_SIDE} pixels that 8 divides."
        )
    return sides


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError(f"{text!r} is not a whole number of rows from 1 to 64.")
    return int(text)


def _target(text: str) -> str:
    if not re.fullmatch(r"sm\d+", text):
        raise ValueError(f"{text!r} is not a compute capability such as sm89 (8.9).")
    return text


@click.command("tensorrt")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--flavour",
    type=click.Choice([flavour.option for flavour in FLAVOURS]),
    default="rtx",
    show_default=True,
    help="rtx: TensorRT-RTX, built without a GPU. full: TensorRT, built on the GPU that runs it.",
)
@click.option(
    "--sizes",
    metavar="WxH,...",
    callback=_listed(_size),
    default="512x512,768x768,1024x1024",
    show_default=True,
    help="Canvases to build for; others up to the longest side run too, less quickly.",
)
@click.option(
    "--batch",
    metavar="N,...",
    callback=_listed(_rows),
    default="1,2",
    show_default=True,
    help="Rows of a call; guidance takes two.",
)
@click.option(
    "--target", metavar="SM,...", callback=_listed(_target), help="Kinds of GPU, for rtx; by default Ampere and later."
)
def tensorrt_command(
    folder: Path,
    flavour: str,
    sizes: tuple[tuple[int, int], ...],
    batch: tuple[int, ...],
    target: tuple[str, ...],
) -> None:
    """Build TensorRT plans of the engine set in DIR and enter them in its manifest."""
    chosen = next(each for each in FLAVOURS if each.option == flavour)
    if target and not chosen.portable:
        raise click.UsageError("--target is for `--flavour rtx`; full TensorRT builds for the GPU of this machine.")
    from ..tensorrt.plans import PlanOptions, build_plans

    with _progress() as report:
        engines = build_plans(folder, PlanOptions(chosen, Buckets(sizes, batch), target, report))
    _summarise(engines, chosen)


@contextmanager
def _progress() -> Iterator[Callable[[str, str, float], None]]:
    """A function to report to, shown as a bar on stderr where that is a terminal."""
    stages = list(STAGE_WORDS)
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}"
    total = len(PARTS) * len(stages)
    with tqdm(total=total, disable=not sys.stderr.isatty(), bar_format=form, leave=False) as bar:

        def report(part: str, stage: str, share: float) -> None:
            bar.set_description(f"{STAGE_WORDS[stage]} {part}", refresh=False)
            bar.update(PARTS.index(part) * len(stages) + stages.index(stage) + share - bar.n)

        yield report


def _summarise(engines: EngineSet, flavour: Flavour) -> None:
    """One line for each plan, and what the build took at most."""
    for part in PARTS:
        plan = engines.artifact(part, flavour.name)
        size, attention = (engines.folder / plan.file).stat().st_size, plan.parity["attention"]
        listed = "not listed" if attention["layers"] is None else f"{attention['layers']} layers listed"
        click.echo(
            f"  {part:13} {size / 1e6:9.1f} MB  max relative error {plan.parity['max_rel_error']:.1e}  "
            f"{attention['required']} of {attention['operators']} attentions fused in each of "
            f"{len(plan.built_for['profiles'])} profiles ({listed})"
        )
    if (peak := _peak_gigabytes()) is not None:
        click.echo(f"  peak memory {peak:.1f} GB")


def _peak_gigabytes() -> float | None:
    """Largest resident size of this process so far; unknown on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
