"""What other APIs leave to their model: where a picture goes, and the settings that they have no field for.

Their canvases are of any size up to our largest side. Ours are multiples of 8: the rest is painted and cut off.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from ...canvas import Placement
from ...denoise import follows
from ...errors import RequestError
from ...noise import random_seed
from ...prompts import lora_tags
from ...samplers import find_scheduler
from ..configuration import Configuration
from ..pictures.decoding import Decoded
from ..queue.orders import Order
from ..refusals import InputRefused

__all__ = ["Sides", "extended", "fitted", "settings", "settled"]

UNCOVERED = (
    "Nothing is to be painted: the picture covers the canvas, and neither it nor a mask has a transparent part. "
    "Send a mask, or choose a canvas of another shape."
)


class Sides(NamedTuple):
    """Pixels to add to a picture."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0


def settings(limits: Configuration, **chosen: Any) -> dict[str, Any]:
    """The fields of an `OutpaintRequest` but its picture and placement: our defaults, and what was `chosen`.

    Raises:
        InputRefused: see `settled`.
    """
    defaults = {
        "prompt": "",
        "negative_prompt": None,
        "scheduler": "DDIM",
        "num_inference_steps": limits.steps_default,
        "width": limits.canvas_default,
        "height": limits.canvas_default,
        "strength": 1.0,
        "guidance_scale": 7.5,
        "mask_expand": 8,
    }
    return settled(limits, defaults | chosen)


def settled(limits: Configuration, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a seed and the configured reuse and decoder, their LoRAs compared with those that are allowed.

    Raises:
        InputRefused: a LoRA is not allowed, or its strength is no number.
    """
    _check_loras(limits, fields["prompt"])
    # Drawn now, so that another attempt after a crash paints the same picture.
    seed = fields.get("seed", -1)
    fields = fields | {"seed": random_seed() if seed < 0 else seed}
    sampler = find_scheduler(fields["scheduler"])
    if limits.reuse != "off" and sampler is not None and follows(sampler):
        fields["reuse"] = limits.reuse
    if limits.decoder != "full":
        fields["decoder"] = limits.decoder
    return fields


def _check_loras(limits: Configuration, prompt: str) -> None:
    try:
        named = lora_tags(prompt).loras
    except RequestError as error:
        raise InputRefused(sentence=error, field="prompt") from error
    for name in named:
        if name not in limits.loras:
            may = f"it may name {', '.join(limits.loras)}" if limits.loras else "this service has none"
            raise InputRefused(
                sentence=f"prompt names the LoRA {name!r:.60}; {may}. Leave the tag out.", field="prompt"
            )


def fitted(order: Order, picture: Decoded, canvas: tuple[int, int] | None, limits: Configuration) -> Order:
    """The picture as large as it fits, in the middle of a canvas (width, height).

    Without a canvas it is the picture's own size, made smaller where a side is beyond our largest.

    Raises:
        InputRefused: the canvas is too large, or nothing would be painted.
    """
    width, height = canvas or _within(picture.size, max(limits.canvas_sides))
    _check_size((width, height), limits)
    scale = min(width / picture.size[0], height / picture.size[1])
    scaled = Placement(width, height, scale).scaled(picture.size)
    if scaled[0] >= width and scaled[1] >= height and not picture.transparent:
        raise InputRefused(sentence=UNCOVERED, field="mask")
    offsets = (width - scaled[0]) // 2, (height - scaled[1]) // 2
    return _placed(order, (width, height), (0, 0), scale, offsets, limits)


def extended(order: Order, picture: Decoded, sides: Sides, limits: Configuration) -> Order:
    """The picture at its own size, with pixels added to its sides.

    Raises:
        InputRefused: the canvas would be too large.
    """
    size = picture.size[0] + sides.left + sides.right, picture.size[1] + sides.top + sides.bottom
    # What is cut off lies where there is no picture, as far as that can be.
    spare = -size[0] % 8 if not sides.right else 0, -size[1] % 8 if not sides.bottom else 0
    cut = (spare[0] if sides.left else 0), (spare[1] if sides.top else 0)
    return _placed(order, size, cut, 1.0, (sides.left + cut[0], sides.top + cut[1]), limits)


def _placed(
    order: Order,
    size: tuple[int, int],
    cut: tuple[int, int],
    scale: float,
    offsets: tuple[int, int],
    limits: Configuration,
) -> Order:
    """The order on a canvas that holds `size`; `cut` is what is cut off at its left and top."""
    _check_size(size, limits)
    width, height = (-(-side // 8) * 8 for side in size)
    placement = Placement(width, height, scale, *offsets)
    placed = replace(
        order,
        fields=order.fields | vars(placement),
        crop=None if (width, height) == size else (*cut, cut[0] + size[0], cut[1] + size[1]),
    )
    try:
        placed.request()
    except RequestError as error:
        raise InputRefused(sentence=error) from error
    return placed


def _check_size(size: tuple[int, int], limits: Configuration) -> None:
    most = max(limits.canvas_sides)
    if max(size) > most:
        raise InputRefused(
            sentence=f"The result would be {size[0]}x{size[1]}; at most {most} pixels a side are painted here.",
            field="size",
        )


def _within(size: tuple[int, int], most: int) -> tuple[int, int]:
    factor = min(1.0, most / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
