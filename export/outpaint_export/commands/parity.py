"""`outpaint-export parity`: options in, a table and an exit code out. Measures nothing itself."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.samplers import SCHEDULERS, find_scheduler

from ..errors import ParityError

if TYPE_CHECKING:
    from ..parity.side_by_side import Comparison

__all__ = ["parity_command"]

DEFAULT_SCHEDULERS = ("DDIM", "DPM Multi", "Euler a", "UniPC")


@click.command("parity")
@click.argument("folder", metavar="DIR")
@click.option("--reference", required=True, metavar="SOURCE", help="The checkpoint DIR was exported from.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the CLIP tokenizer, for a SOURCE in one file.",
)
@click.option(
    "--scheduler",
    "schedulers",
    multiple=True,
    default=DEFAULT_SCHEDULERS,
    show_default=True,
    help="May be given several times; `all` is every one.",
)
@click.option("--strength", "strengths", multiple=True, type=float, default=(0.75, 1.0), show_default=True)
@click.option(
    "--guidance-scale", "-g", "guidance_scales", multiple=True, type=float, default=(1.0, 7.5), show_default=True
)
@click.option("--steps", type=int, default=25, show_default=True)
@click.option("--size", metavar="WxH", help="The canvas.  [default: the size the model was trained at]")
def parity_command(folder: str, reference: str, tokenizer: Path | None, size: str | None, **matrix: Any) -> None:
    """Run diffusers and the engine set DIR side by side, and write how close they are into DIR.

    Every scheduler is run at every strength and guidance scale. Both sides are given the same picture and prompt, and
    only a seed. Exit code 4 where a bound is missed.
    """
    # torch takes seconds to import, which a mistyped option need not wait for.
    engines = EngineSet.open(folder)
    matrix |= {"size": _canvas(size, engines.native_size), "schedulers": _names(matrix["schedulers"])}
    from ..parity.side_by_side import Matrix, compare_runs, write_comparison
    from ..sources.opening import open_source, silence_libraries

    silence_libraries()
    cases = Matrix(**matrix)
    sources = open_source(reference, tokenizer=tokenizer)
    with tqdm(total=2 * len(cases.requests()), disable=not sys.stderr.isatty(), unit="run", leave=False) as bar:

        def report(case: str) -> None:
            bar.set_description(case)
            bar.update()

        comparison = compare_runs(engines, sources, cases, report)
    write_comparison(engines, comparison)
    click.echo("\n".join(_table(comparison)))
    for name, reason in comparison.left_out.items():
        click.echo(f"Note: {name} was left out: {reason}.", err=True)
    _check(comparison, folder, reference)


def _names(schedulers: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in schedulers:
        return tuple(scheduler.name for scheduler in SCHEDULERS)
    found = {name: find_scheduler(name) for name in schedulers}
    for name, scheduler in found.items():
        if scheduler is None:
            raise click.BadParameter(f"{name!r} is no scheduler; `outpaint schedulers` lists them.")
    return tuple(scheduler.name for scheduler in found.values() if scheduler)


def _canvas(size: str | None, native: int) -> tuple[int, int]:
    if size is None:
        return native, native
    sides = re.fullmatch(r"(\d+)x(\d+)", size)
    if sides is None or any(int(side) % 8 or int(side) < 32 for side in sides.groups()):
        raise click.BadParameter(f"--size is two multiples of 8 of at least 32, such as 512x384; not {size!r}.")
    return int(sides[1]), int(sides[2])


def _table(comparison: "Comparison") -> Iterator[str]:
    yield f"{'scheduler':18}strength  guidance   latents  within 1/255  largest      PSNR"
    for row in comparison.rows:
        figures = row.figures
        psnr = f"{figures.psnr:.1f} dB" if figures.psnr is not None else "equal"
        yield (
            f"{row.scheduler:18}{row.strength:8g}{row.guidance_scale:10g}{figures.latent_error:10.1e}"
            f"{figures.within_one_level:14.3%}{figures.max_level_error:9d}{psnr:>10}"
        )


def _check(comparison: "Comparison", folder: str, reference: str) -> None:
    if missed := comparison.missed:
        bounds = comparison.bounds
        cases = "; ".join(f"{row.scheduler} (strength {row.strength:g}, {row.guidance_scale:g})" for row in missed)
        raise ParityError(
            f"{len(missed)} of {len(comparison.rows)} runs miss a bound (latents within {bounds.latent_error:g}, "
            f"{bounds.within_one_level:.1%} of pixel values within 1/255): {cases}. Check that {folder} was exported "
            f"from {reference} and not changed since, or export it again."
        )
