"""`outpaint bench`: how fast an engine set is here, as a table, a line of JSON and a plot."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from ..bench import BenchOptions, Measurement, measure
from ..bench.plot import check_matplotlib, plot
from ..bench.table import table
from ..engines import EngineOptions
from ..errors import OutputError
from ..images import write_all
from .options import engine_options

__all__ = ["bench"]


@click.command()
@engine_options
@click.option("--width", type=int, help="Canvas width, a multiple of 8. [the set's native size]")
@click.option("--height", type=int, help="Canvas height, a multiple of 8. [the set's native size]")
@click.option("--scheduler", default="DDIM", show_default=True, help="See `outpaint schedulers`.")
@click.option("--steps", type=int, default=25, show_default=True)
@click.option("--guidance-scale", "-g", type=float, default=7.5, show_default=True, help="1 or less: no guidance.")
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Pictures that share each UNet call."
)
@click.option(
    "--warmup", type=click.IntRange(0), default=1, show_default=True, help="Pictures painted and not counted."
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Pictures counted.")
@click.option(
    "--starts",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Fresh processes: load, first picture, memory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the measurement as one line of JSON instead of the table.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Append the line of JSON to this file.")
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Also draw it, as a PNG.")
def bench(as_json: bool, out: Path | None, picture: Path | None, **options: Any) -> None:
    """Time an engine set, by stage and by step, with a picture that is made for it.

    \b
    outpaint bench --device cpu --plot bench.png
    outpaint bench --engines sd15 --width 512 --height 512 --steps 10 --repeats 3 --out history.jsonl
    """  # noqa: D301 - click keeps the lines after the character \b
    for path in (out, picture):
        if path is not None and not os.access(path.parent, os.W_OK):
            raise OutputError(f"The folder {str(path.parent)!r} does not exist or cannot be written to.")
    if picture is not None:
        check_matplotlib()
    loading = EngineOptions(**{name: options.pop(name) for name in ("precision", "threads", "cuda_graph")})
    found = _with_progress(BenchOptions(load=loading, **options))
    if out is not None:
        _append(out, found)
    if picture is not None:
        write_all({picture: plot(found)})
    click.echo(found.to_json() if as_json else "\n".join(table(found)))


def _with_progress(options: BenchOptions) -> Measurement:
    """Measure with a bar on standard error, when that is a terminal."""
    with tqdm(disable=not sys.stderr.isatty(), file=sys.stderr, leave=False) as bar:

        def report(doing: str, done: int, of: int) -> None:
            bar.total = of
            bar.set_description(doing, refresh=False)
            bar.update(done - bar.n)

        return measure(options, report)


def _append(path: Path, found: Measurement) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(found.to_json() + "\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Choose another file.") from error
