"""Options that several commands share: where the picture goes on the canvas, how a run is sampled, what runs it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..canvas import ANCHORS, WAYS, Placement, way_of
from ..denoise import Reuse
from ..engines.base import PRECISIONS
from ..errors import RequestError
from ..images.credentials import ALGORITHMS, Credentials
from ..images.credentials import MIME as SIGNED
from ..request import DECODERS, SAFETY, Detail

__all__ = [
    "credentials_of",
    "credentials_options",
    "Command",
    "added",
    "detail_of",
    "detail_options",
    "engine_options",
    "mask_option",
    "placement_of",
    "placement_options",
    "sampling_options",
]

Command = Callable[..., Any]


def placement_options(command: Command) -> Command:
    """Add the three ways to say a placement, and the width of the blend."""
    options = [
        click.option("--left", type=int, help="Pixels to add on the left."),
        click.option("--right", type=int, help="Pixels to add on the right."),
        click.option("--top", type=int, help="Pixels to add above."),
        click.option("--bottom", type=int, help="Pixels to add below."),
        click.option("--aspect", metavar="W:H", help="Extend to this aspect ratio, such as 16:9."),
        click.option(
            "--anchor", type=click.Choice(list(ANCHORS)), help="With --aspect: where the picture sits. [center]"
        ),
        click.option("--width", type=int, help="Canvas width, a multiple of 8."),
        click.option("--height", type=int, help="Canvas height, a multiple of 8."),
        click.option("--scale", type=float, help="Factor on the picture's own pixels, applied first. [1]"),
        click.option("--offset-x", type=int, help="The picture's left edge on the canvas. [0]"),
        click.option("--offset-y", type=int, help="The picture's top edge on the canvas. [0]"),
        click.option(
            "--mask-expand",
            type=int,
            default=8,
            show_default=True,
            help="Pixels of the picture's border that are painted anew and blended.",
        ),
    ]
    return added(command, options)


def credentials_options(command: Command) -> Command:
    """Add what signs the result's content credentials."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    options = [
        click.option("--sign-certificate", type=file, help="PEM: sign content credentials (C2PA), extra c2pa."),
        click.option("--sign-key", type=file, help="PEM: the certificate's private key."),
        click.option("--sign-algorithm", type=click.Choice(ALGORITHMS), help="The key's. [es256]"),
    ]
    return added(command, options)


def credentials_of(options: dict[str, Any], suffix: str, *, metadata: bool) -> Credentials | None:
    """Take the options of `credentials_options` out, and read what signs; checked before any work is done."""
    certificate, key, algorithm = (options.pop(f"sign_{name}") for name in ("certificate", "key", "algorithm"))
    if not (certificate or key or algorithm):
        return None
    if certificate is None or key is None:
        raise click.UsageError("Signing needs both --sign-certificate and --sign-key.")
    if not metadata:
        raise click.UsageError("--no-metadata leaves content credentials out too: leave the certificate or it away.")
    if suffix not in SIGNED:
        raise click.UsageError(f"Content credentials go into {', '.join(SIGNED)}; not into {suffix}.")
    return Credentials.read(certificate, key, algorithm or ALGORITHMS[0])


def mask_option(command: Command) -> Command:
    """Add the mask of the picture itself."""
    return click.option(
        "--mask",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="A picture of IN's size: white is painted too, grey more freely the lighter it is.",
    )(command)


def detail_options(command: Command) -> Command:
    """Add how a canvas larger than the model is painted, and whether it wraps."""
    options = [
        click.option(
            "--detail",
            type=click.Choice(["auto", "on", "off"]),
            default="auto",
            show_default=True,
            help="Compose a large canvas at the model's size and refine it, or paint it at once (off).",
        ),
        click.option("--work-size", type=int, help="Compose at this side, or its area. [the model's]"),
        click.option("--detail-strength", type=float, help="Share of the steps that refining runs. [0.4]"),
        click.option("--detail-tile", type=int, help="Side of a tile in pixels. [the model's]"),
        click.option("--detail-overlap", type=int, help="Pixels that tiles overlap. [a quarter of the tile]"),
        click.option("--detail-levels", type=int, help="How many doublings are refined; others only enlarge."),
        click.option(
            "--wrap", type=click.Choice(["x", "y", "xy"]), help="Sides that meet: x for panoramas, xy for tiles."
        ),
    ]
    return added(command, options)


def detail_of(given: dict[str, Any]) -> str | Detail:
    """Take the options of `detail_options` out of `given`, and make `wrap` what a request takes."""
    given["wrap"] = given["wrap"] or ""
    mode = given.pop("detail")
    names = {"work_size": "work_size", **{f"detail_{name}": name for name in ("strength", "tile", "overlap", "levels")}}
    fields = {name: given.pop(option) for option, name in names.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields and mode == "off":
        raise click.UsageError("--detail off paints the canvas at once: leave the other options of detail out.")
    return Detail(**fields) if fields else mode


def sampling_options(command: Command) -> Command:
    """Add the prompts, how they are read, the sampler, the seed, and what is done before and after the model."""
    return _prompt_options(_sampler_options(_picture_options(command)))


def _prompt_options(command: Command) -> Command:
    options = [
        click.option("--prompt", "-p", default="", help="What the whole picture shows."),
        click.option("--negative-prompt", "-n", help="What it should not show."),
        click.option(
            "--prompt-weighting",
            default="auto",
            show_default=True,
            help="auto, on or off: whether (word:1.3) and [word] are weights.",
        ),
        click.option(
            "--long-prompts",
            default="chunks",
            show_default=True,
            help="chunks or truncate: whether tokens beyond 75 are read, or left out as in diffusers.",
        ),
        click.option("--clip-skip", type=int, help="Leave out the text encoder's last layers. [none]"),
        click.option(
            "--clip-skip-negative",
            is_flag=True,
            help="For the negative prompt too, as in the web UI, not in diffusers.",
        ),
    ]
    return added(command, options)


def _sampler_options(command: Command) -> Command:
    options = [
        click.option(
            "--speed",
            default="exact",
            show_default=True,
            help="exact, balanced or fast: stands for scheduler, steps and reuse. See docs/speed.md.",
        ),
        click.option("--scheduler", help="See `outpaint schedulers`. [DDIM, or as --speed has it]"),
        click.option("--steps", "num_inference_steps", type=int, help="[25, or as --speed has it]"),
        click.option(
            "--strength", type=float, default=1.0, show_default=True, help="Share of the steps run, in (0, 1]."
        ),
        click.option(
            "--guidance-scale", "-g", type=float, default=7.5, show_default=True, help="1 or less: no guidance."
        ),
        click.option(
            "--guidance-rescale", type=float, default=0.0, show_default=True, help="0 to 1: against overexposure."
        ),
        click.option(
            "--guidance-interval",
            type=(float, float),
            metavar="FROM TO",
            default=(0.0, 1.0),
            show_default=True,
            help="Fractions of the run with guidance; outside them a step costs half.",
        ),
        click.option(
            "--guidance-every",
            type=int,
            default=1,
            show_default=True,
            help="Compute both predictions in every Nth guided step only. See docs/speed.md.",
        ),
        click.option(
            "--reuse",
            callback=_reuse,
            help="off, careful, fast, or N: run the UNet whole in every Nth step only. [off, or as --speed has it]",
        ),
        click.option(
            "--window", is_flag=True, help="Compute the unknown canvas and its context only. See docs/speed.md."
        ),
        click.option("--eta", type=float, default=0.0, show_default=True, help="DDIM's randomness, 0 to 1."),
        click.option("--seed", type=int, default=-1, show_default=True, help="-1 draws one and says which."),
        click.option(
            "--noise", default="torch", show_default=True, help="torch, torch-cuda or numpy: whose noise a seed is."
        ),
        click.option("--num-images", type=int, default=1, show_default=True, help="Seeds count up from --seed."),
    ]
    return added(command, options)


def _picture_options(command: Command) -> Command:
    options = [
        click.option("--infill", default="auto", show_default=True, help="auto, edge, noise or grey."),
        click.option("--color-match/--no-color-match", default=True, help="Match colours at the seam. [on]"),
        click.option(
            "--decoder",
            type=click.Choice(DECODERS),
            default="full",
            show_default=True,
            help="tiny: the engine set's tiny decoder makes the picture, sooner. See docs/speed.md.",
        ),
        click.option(
            "--safety",
            type=click.Choice(SAFETY),
            default="off",
            show_default=True,
            help="Let the engine set's safety checker look at what was painted: flag it, or refuse it.",
        ),
    ]
    return added(command, options)


def engine_options(command: Command) -> Command:
    """Add the engine set and what runs it: device, precision, threads, CUDA graphs."""
    options = [
        click.option("--engines", default="demo", show_default=True, help="An engine set's folder."),
        click.option("--device", default="auto", show_default=True, help="See `outpaint devices`."),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            show_default=True,
            help="What the engines compute in, where the device leaves a choice.",
        ),
        click.option("--threads", type=click.IntRange(1), help="CPU threads of one engine. [every core]"),
        click.option(
            "--cuda-graph/--no-cuda-graph",
            default=None,
            help="On a GPU: record each step's work once and replay it. [where possible]",
        ),
    ]
    return added(command, options)


def placement_of(size: tuple[int, int], given: dict[str, Any]) -> Placement:
    """Take the placement options out of `given` and work them out for a picture of `size` (width, height)."""
    options = {name: given.pop(name) for name in (*sum(WAYS.values(), ()), "scale")}
    options = {name: value for name, value in options.items() if value is not None}
    if not 0.01 <= options.get("scale", 1) <= 100:
        raise RequestError(f"scale must be a number from 0.01 to 100, not {options['scale']:g}.")
    try:
        way = way_of(options)
    except RequestError as error:
        raise click.UsageError(str(error)) from error
    if not way and given.get("mask") is not None:
        return Placement.from_sides(size, scale=options.get("scale", 1.0))
    if not way:
        raise click.UsageError(
            "Say how far to extend: --left/--right/--top/--bottom PIXELS, --aspect W:H, or --width and --height."
        )
    if way == "canvas" and not {"width", "height"} <= options.keys():
        raise click.UsageError("--width and --height are needed together; --offset-x and --offset-y go with them.")
    return Placement.of(size, options)


def _reuse(context: click.Context, parameter: click.Parameter, value: str | None) -> str | Reuse | None:
    """A level by its name, or a number of steps."""
    return Reuse(int(value)) if value and value.isascii() and value.isdigit() else value


def added(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command
