"""Measures the demo on scenes it was never trained on: `python -m tests.engine.demo_figures [FOLDER]`.

FOLDER is an engine set, or a diffusers folder, of which only the autoencoder is measured; without it, the packaged
demo. The pictures are cut from held-out scenes, so what a perfect model could score is measured too, on the scenes
themselves.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from demo_model.scenes import HELD_OUT_SEED, Scene, scenes

from outpaint_engine import OutpaintPipeline

from .demo.autoencoder_figures import (
    Autoencoder,
    is_diffusers_folder,
    measure_autoencoder,
    of_folder,
    of_models,
    psnr_at,
)
from .demo.kinds import KindClassifier
from .demo.painted_figures import measure_painted

COUNT = 40
LARGE = 1024


def held_out(count: int = COUNT) -> list[Scene]:
    """The scenes, every time of day and kind about equally often."""
    return list(islice(scenes(HELD_OUT_SEED, COUNT), count))


def rows(figures: object) -> Iterator[tuple[str, str]]:
    """Name and value of every figure, as they stand in a table."""
    for name, value in vars(figures).items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield words, ", ".join(f"{kind} {number:.3g}" for kind, number in value.items())
        elif isinstance(value, list):
            yield words, ", ".join(f"{number:.3g}" for number in value)
        else:
            yield words, "not measured" if value is None else f"{value:.3g}"


def show(title: str, figures: object) -> None:
    """Print one table."""
    print(f"\n| {title} | |\n|---|---|")
    print(*(f"| {name} | {value} |" for name, value in rows(figures)), sep="\n", flush=True)


def show_autoencoder(autoencoder: Autoencoder, given: argparse.Namespace) -> None:
    """Measure at the model's own size and in large."""
    chosen = held_out(given.count)
    show("autoencoder", measure_autoencoder(autoencoder, chosen))
    if given.large:
        print(f"| psnr at {LARGE} | {psnr_at(autoencoder, chosen[: given.large], LARGE):.3g} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.demo_figures", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="an engine set or a diffusers folder")
    parser.add_argument("--count", type=int, default=COUNT, help="held-out scenes")
    parser.add_argument("--large", type=int, default=COUNT, help=f"of them at {LARGE} pixels; 0 leaves this out")
    parser.add_argument("--only", choices=("autoencoder", "painted"), help="measure one half")
    given = parser.parse_args()
    if given.folder and is_diffusers_folder(given.folder):
        show_autoencoder(of_folder(given.folder), given)
        return
    with OutpaintPipeline.from_pretrained(given.folder or "demo") as pipe:
        if given.only != "painted":
            show_autoencoder(of_models(pipe.models), given)
        if given.only != "autoencoder":
            show("painted", measure_painted(pipe, held_out(given.count), KindClassifier()))


if __name__ == "__main__":
    main()
