"""Where the picture goes, what is painted, and how the untouched pixels come back. Plain numpy, no model.

Masks are float32 in [0, 1] with 1 = unknown, to be painted (diffusers' convention). Three ways to say a
placement exist in the field; `Placement` is the first, and the other two convert into it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .errors import RequestError
from .tensors import Array

__all__ = [
    "ANCHORS",
    "MAX_SIDE",
    "WAYS",
    "Box",
    "CanvasPlan",
    "Placement",
    "box_sum",
    "latent_mask",
    "paste_back",
    "plan",
    "way_of",
]

MAX_SIDE = 4096
"""Pixels of a canvas side."""
MAX_SCALED_PIXELS = 100_000_000
ANCHORS: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
}
"""Where the picture sits on a larger canvas, as a share of the spare width and height."""
WAYS: Mapping[str, tuple[str, ...]] = {
    "canvas": ("width", "height", "offset_x", "offset_y"),
    "sides": ("left", "right", "top", "bottom"),
    "aspect": ("aspect", "anchor"),
}
"""The three ways to say a placement, with their options; `scale` goes with each."""
HARDLY = 0.05
"""A share of the picture or the canvas that is next to nothing."""


@dataclass(frozen=True)
class Placement:
    """Canvas size in pixels, factor on the picture's own pixels, and the picture's top-left corner."""

    width: int
    height: int
    scale: float = 1.0
    offset_x: int = 0
    offset_y: int = 0

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture's size on the canvas, at least one pixel each way.

        Raises:
            RequestError: it would have more than `MAX_SCALED_PIXELS`.
        """
        width, height = (max(1, round(side * self.scale)) for side in size)
        if width * height > MAX_SCALED_PIXELS:
            raise RequestError(
                f"scale {self.scale:g} would make the picture {width}x{height}: over {MAX_SCALED_PIXELS:,} pixels. "
                "Use a smaller scale."
            )
        return width, height

    @classmethod
    def from_sides(
        cls, size: tuple[int, int], *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0, scale: float = 1.0
    ) -> "Placement":
        """Extend a picture of `size` (width, height), after `scale`, by pixels on each side.

        A canvas side that would be no multiple of 8 grows to one where that direction is extended (on the
        right or bottom if asked there, else on the left or top) and crops the picture where it is not.
        """
        if min(left, right, top, bottom) < 0:
            raise RequestError("left, right, top and bottom must be 0 or more pixels.")
        scaled = cls(8, 8, scale).scaled(size)
        offset_x, width = _extended(scaled[0], left, right)
        offset_y, height = _extended(scaled[1], top, bottom)
        return cls(width, height, scale, offset_x, offset_y)._within(MAX_SIDE)

    @classmethod
    def from_aspect(cls, size: tuple[int, int], aspect: str, anchor: str = "center", scale: float = 1.0) -> "Placement":
        """Extend a picture of `size` (width, height), after `scale`, to an aspect ratio "W:H" such as "16:9".

        One direction is extended, the other keeps its size but for at most 7 pixels that make it a multiple of 8.
        """
        try:
            across, down = map(float, aspect.split(":"))
            ratio = across / down
        except (AttributeError, ValueError, ZeroDivisionError):
            ratio = 0.0
        if not 0.05 <= ratio <= 20:
            raise RequestError(f"aspect must be two numbers like 16:9, at most 20:1; not {aspect!r}.")
        if anchor not in ANCHORS:
            raise RequestError(f"anchor must be one of {', '.join(ANCHORS)}; not {anchor!r}.")
        scaled = cls(8, 8, scale).scaled(size)
        share_x, share_y = ANCHORS[anchor]
        if scaled[0] < scaled[1] * ratio:
            width, height = max(8, round(scaled[1] * ratio / 8) * 8), _cropped(scaled[1])
            found = cls(width, height, scale, round(max(0, width - scaled[0]) * share_x), 0)
        else:
            width, height = _cropped(scaled[0]), max(8, round(scaled[0] / ratio / 8) * 8)
            found = cls(width, height, scale, 0, round(max(0, height - scaled[1]) * share_y))
        return found._within(MAX_SIDE)

    @classmethod
    def of(cls, size: tuple[int, int], options: Mapping[str, Any]) -> "Placement":
        """Place a picture of `size` (width, height) by options of one of the `WAYS`, and `scale`."""
        way = way_of(options)
        if way == "aspect" and "aspect" not in options:
            raise RequestError("anchor goes with aspect: say the aspect ratio too, such as 16:9.")
        return {"canvas": cls, "sides": partial(cls.from_sides, size), "aspect": partial(cls.from_aspect, size)}[way](
            **options
        )

    def _within(self, most: int) -> "Placement":
        """Return itself, where its sides have at most `most` pixels."""
        if max(self.width, self.height) > most:
            raise RequestError(
                f"The canvas would be {self.width}x{self.height}, and a side has at most {most} pixels. Extend by "
                f"less, or make the picture smaller first: with a scale below {self.scale:g}."
            )
        return self


def way_of(given: Iterable[str]) -> str:
    """Which of the `WAYS` the given options say a placement in; "" for none.

    Raises:
        RequestError: more than one.
    """
    named = {way: [name for name in given if name in names] for way, names in WAYS.items()}
    used = [way for way, names in named.items() if names]
    if len(used) > 1:
        names = " and ".join(named[way][0] for way in used)
        raise RequestError(f"Say the placement in one way, not several: {names} were given.")
    return used[0] if used else ""


def _cropped(side: int) -> int:
    """The multiple of 8 at or below a side."""
    return max(8, side // 8 * 8)


def _extended(side: int, before: int, after: int) -> tuple[int, int]:
    """Return (offset of the picture, canvas side), the canvas side a multiple of 8."""
    if not before and not after:
        return 0, _cropped(side)
    total = before + side + after
    missing = -total % 8
    return (before, total + missing) if after else (before + missing, total + missing)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left and top inclusive, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Pixels inside."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)


@dataclass(frozen=True)
class CanvasPlan:
    """What would be painted, known before any model runs.

    `placed` is the resized picture on the canvas, possibly partly outside; `visible` the part inside.
    `unknown` marks canvas that the picture does not cover; `mask` is what the model paints (`unknown` grown
    by mask_expand into the picture); `painted_share` is the weight of painted pixels in the result: 1 on
    unknown canvas, 0 where the picture is kept byte for byte, a smooth ramp in the band between. All three
    are float32 of shape (height, width).
    """

    placement: Placement
    scaled_size: tuple[int, int]
    placed: Box
    visible: Box
    unknown: Array = field(repr=False)
    mask: Array = field(repr=False)
    painted_share: Array = field(repr=False)
    warnings: tuple[str, ...]

    @property
    def unknown_share(self) -> float:
        """Share of the canvas that the picture does not cover, in (0, 1)."""
        return float(self.unknown.mean())


def plan(size: tuple[int, int], placement: Placement, mask_expand: int = 8, opaque: Array | None = None) -> CanvasPlan:
    """Work out a placement for a picture of `size` (width, height) in pixels.

    `opaque` is an optional bool array of the scaled picture's shape; where it is False the picture counts as
    unknown (transparent pixels).

    Raises:
        RequestError: nothing of the picture would be visible, or nothing would be left to paint.
    """
    scaled = placement.scaled(size)
    placed = Box(placement.offset_x, placement.offset_y, placement.offset_x + scaled[0], placement.offset_y + scaled[1])
    visible = Box(
        max(0, placed.left),
        max(0, placed.top),
        min(placement.width, placed.right),
        min(placement.height, placed.bottom),
    )
    if visible.right <= visible.left or visible.bottom <= visible.top:
        raise RequestError(
            f"Nothing of the picture is on the canvas: it was put at ({placed.left}, {placed.top}) to "
            f"({placed.right}, {placed.bottom}) on {placement.width}x{placement.height}. Change offset_x or offset_y."
        )
    unknown = np.ones((placement.height, placement.width), np.float32)
    inside = slice(visible.top, visible.bottom), slice(visible.left, visible.right)
    unknown[inside] = 0
    if opaque is not None:
        crop = opaque[
            visible.top - placed.top : visible.bottom - placed.top,
            visible.left - placed.left : visible.right - placed.left,
        ]
        unknown[inside] = ~crop
    if not unknown.any():
        raise RequestError(
            f"Nothing is left to paint: the picture ({scaled[0]}x{scaled[1]} after scale) covers the whole "
            f"{placement.width}x{placement.height} canvas. Use a larger canvas or a smaller scale."
        )
    if unknown.all():
        raise RequestError("Nothing of the picture is visible: every pixel on the canvas is transparent.")
    mask = _dilated(unknown, mask_expand)
    hidden = 0.0 if opaque is None else float(unknown[inside].mean())
    warnings = (*_hidden_note(hidden), *_warnings(placed, visible, mask, mask_expand))
    return CanvasPlan(placement, scaled, placed, visible, unknown, mask, _painted_share(unknown, mask_expand), warnings)


def _hidden_note(share: float) -> list[str]:
    """What a person who sees no hole in the picture would not expect."""
    if not share:
        return []
    return [f"{_percent(share)} of the visible picture is transparent, so it is painted. Drop its alpha to keep it."]


def _percent(share: float) -> str:
    return f"{share:.0%}" if HARDLY <= share <= 1 - HARDLY else f"{share:.2%}"


def _warnings(placed: Box, visible: Box, mask: Array, mask_expand: int) -> list[str]:
    notes = []
    if visible.area < placed.area:
        notes.append(f"{1 - visible.area / placed.area:.0%} of the picture falls outside the canvas and is cropped.")
    seen = 1 - float(mask[visible.top : visible.bottom, visible.left : visible.right].mean())
    if mask.all():
        notes.append(
            f"mask_expand {mask_expand} covers the whole visible picture: the model sees none of it. Use a smaller one."
        )
    elif seen < HARDLY:
        notes.append(f"Only {_percent(seen)} of the visible picture is kept; the rest of it is painted anew.")
    elif mask.mean() > 1 - HARDLY:
        notes.append(
            f"{_percent(float(mask.mean()))} of the canvas is painted: the model has little of the picture to go by. "
            "Use a larger scale or a smaller canvas."
        )
    return notes


def box_sum(values: Array, radius: int) -> Array:
    """Sum over the (2 radius + 1)-sided square around each pixel, cut off at the border; first two axes."""
    for axis in (0, 1):
        border = [(radius, radius) if axis == each else (0, 0) for each in range(values.ndim)]
        runs = np.moveaxis(np.pad(values, border), axis, 0)
        values = np.moveaxis(_run_sum(runs, 2 * radius + 1), 0, axis)
    return values


def _run_sum(values: Array, length: int) -> Array:
    """Sum of each run of `length` rows, put together from runs of 1, 2, 4, ... rows: few passes, no cancellation."""
    count = len(values) - length + 1
    total, summed = np.zeros_like(values[:count]), 0
    for bit in range(length.bit_length()):
        power = 1 << bit
        if length & power:
            total += values[summed : summed + count]
            summed += power
        values = values[:-power] + values[power:]
    return total


def _dilated(mask: Array, radius: int) -> Array:
    """Grow a binary mask by `radius` pixels in every direction."""
    return (box_sum((mask > 0).astype(np.int64), radius) > 0).astype(np.float32) if radius else mask.copy()


def _painted_share(unknown: Array, mask_expand: int) -> Array:
    """1 on unknown canvas, 0 beyond `mask_expand` pixels from it, a smoothstep of the distance between.

    A box mean (radius r) over the mask dilated by mask_expand - r is a linear ramp of exactly that width.
    """
    radius = mask_expand // 2
    grown = _dilated(unknown, mask_expand - radius).astype(np.int64)
    linear = box_sum(grown, radius) / box_sum(np.ones_like(grown), radius)
    return (linear * linear * (3 - 2 * linear)).astype(np.float32)


def latent_mask(mask: Array, factor: int = 8) -> Array:
    """Maximum of a (height, width) mask over each `factor`-sided block: unknown wins. Shape (1, 1, h, w)."""
    height, width = mask.shape
    blocks = mask.reshape(height // factor, factor, width // factor, factor)
    return blocks.max(axis=(1, 3))[None, None].astype(np.float32)


def paste_back(painted: Array, known: Array, share: Array) -> Array:
    """Blend two uint8 (height, width, 3) pictures by `share`; where it is 0, `known` is kept byte for byte."""
    weight = share[..., None]
    mixed = known + (painted.astype(np.float32) - known) * weight
    return np.where(weight == 0, known, np.clip(np.rint(mixed), 0, 255)).astype(np.uint8)
