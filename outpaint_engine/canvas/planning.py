"""What would be painted on a canvas, known before any model runs."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..errors import RequestError
from ..tensors import Array
from .masks import dilated, painted_share, smoothstep
from .placement import Placement

__all__ = ["Box", "CanvasPlan", "plan"]

HARDLY = 0.05
"""A share of the picture or the canvas that is next to nothing."""
FAINT = 32
"""The level of grey from which on the result shows what was painted; below, it is blended with the picture."""
BAND = 256
"""Rows that are looked at together, so that a large canvas needs little memory."""


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

    `placed` is the resized picture on the canvas, possibly partly outside; `visible` the part inside. `unknown`, bool
    (height, width), marks canvas that the picture does not cover; `grey`, uint8 (height, width), what of a mask is
    painted over the picture, more freely the lighter. Other arrays are made when they are asked for, because a canvas
    may be large.
    """

    placement: Placement
    scaled_size: tuple[int, int]
    placed: Box
    visible: Box
    unknown: Array = field(repr=False)
    mask_expand: int = 8
    wrap: str = ""
    warnings: tuple[str, ...] = field(default=())
    grey: Array | None = field(default=None, repr=False)

    @cached_property
    def mask(self) -> Array:
        """What the model paints: `unknown` grown by `mask_expand` into the picture, and grey; float32."""
        return self.mask_in(self.whole)

    @cached_property
    def painted_share(self) -> Array:
        """The weight of painted pixels in the result, float32 (height, width).

        1 on unknown canvas, 0 where the picture is kept byte for byte, a smooth ramp in the band between.
        """
        return self.share_in(self.whole)

    def mask_in(self, box: Box) -> Array:
        """`mask` inside `box`, float32."""
        margin = self.mask_expand
        return self._with_grey(self._inner(dilated(self._around(box, margin), margin), box, margin), box, 255)

    def share_in(self, box: Box) -> Array:
        """`painted_share` inside `box`, float32."""
        margin = 2 * self.mask_expand
        share = self._inner(painted_share(self._around(box, margin), self.mask_expand), box, margin)
        return self._with_grey(share, box, FAINT)

    def _with_grey(self, values: Array, box: Box, full: int) -> Array:
        """The larger of `values` in `box` and the grey there, which is 1 from the level `full` on."""
        if self.grey is None:
            return values
        (rows, _), (columns, _) = self._spans(box, 0)
        grey = np.minimum(self.grey[np.ix_(rows, columns)] / np.float32(full), 1)
        return np.maximum(values, smoothstep(grey) if full < 255 else grey)

    def _around(self, box: Box, margin: int) -> Array:
        """`unknown` in `box` and up to `margin` pixels beyond it, which end at a border that does not wrap."""
        return self.unknown[np.ix_(*(span for span, _ in self._spans(box, margin)))]

    def _inner(self, values: Array, box: Box, margin: int) -> Array:
        """What lies in `box`, of values of what `_around` gave."""
        (_, top), (_, left) = self._spans(box, margin)
        return values[top : top + box.bottom - box.top, left : left + box.right - box.left]

    def _spans(self, box: Box, margin: int) -> list[tuple[Array, int]]:
        """For rows and columns: which to take, and how many of them lie before the box."""
        spans = []
        sides = zip(("y", "x"), self.unknown.shape, ((box.top, box.bottom), (box.left, box.right)), strict=True)
        for direction, length, (first, last) in sides:
            taken = np.arange(first - margin, last + margin)
            if direction not in self.wrap:
                taken = taken[(taken >= 0) & (taken < length)]
            spans.append((taken % length, min(margin, first) if direction not in self.wrap else margin))
        return spans

    @property
    def whole(self) -> Box:
        """The canvas."""
        height, width = self.unknown.shape
        return Box(0, 0, width, height)

    @property
    def unknown_share(self) -> float:
        """Share of the canvas that the picture does not cover, in (0, 1)."""
        return float(self.unknown.mean())

    @property
    def touched(self) -> Array:
        """Unknown canvas and what of the picture is grey in the mask, bool (height, width)."""
        return self.unknown if self.grey is None else self.unknown | (self.grey > 0)


def plan(
    size: tuple[int, int],
    placement: Placement,
    mask_expand: int = 8,
    opaque: Array | None = None,
    wrap: str = "",
    grey: Array | None = None,
) -> CanvasPlan:
    """Work out a placement for a picture of `size` (width, height) in pixels.

    `opaque` is an optional bool array of the scaled picture's shape; where it is False the picture counts as
    unknown (transparent pixels). `wrap` names the directions in which the canvas goes on at its other side: "x", "y",
    "xy" or none. `grey` is an optional uint8 array of the scaled picture's shape: what is painted over the picture,
    more freely the lighter.

    Raises:
        RequestError: nothing of the picture would be visible, nothing would be left to paint, or the picture reaches
            from side to side where the canvas is to wrap.
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
    unknown = np.ones((placement.height, placement.width), bool)
    inside = slice(visible.top, visible.bottom), slice(visible.left, visible.right)
    unknown[inside] = False
    crop = (
        slice(visible.top - placed.top, visible.bottom - placed.top),
        slice(visible.left - placed.left, visible.right - placed.left),
    )
    if opaque is not None:
        unknown[inside] = ~opaque[crop]
    if grey is not None:
        levels = np.zeros(unknown.shape, np.uint8)
        levels[inside] = np.where(unknown[inside], 0, grey[crop])
        grey = levels if levels.any() else None
    if not unknown.any() and grey is None:
        # A picture that has no mask and nothing transparent comes without `opaque`.
        marked = "" if opaque is None else ", and nothing of it is transparent or lighter than black in its mask"
        remedy = "Use" if opaque is None else "Make white in the mask what is to be painted, or use"
        raise RequestError(
            f"Nothing is left to paint: the picture ({scaled[0]}x{scaled[1]} after scale) covers the whole "
            f"{placement.width}x{placement.height} canvas{marked}. {remedy} a larger canvas or a smaller scale."
        )
    if unknown.all():
        raise RequestError("Nothing of the picture is visible: every pixel on the canvas is transparent or masked.")
    _check_wrap(unknown, wrap)
    found = CanvasPlan(placement, scaled, placed, visible, unknown, mask_expand, wrap, grey=grey)
    hidden = 0.0 if opaque is None else float(unknown[inside].mean())
    return replace(found, warnings=(*_hidden_note(hidden), *_warnings(found)))


def _check_wrap(unknown: Array, wrap: str) -> None:
    """What the picture shows on both sides of a joint cannot be made to meet."""
    joints = {"x": (unknown[:, 0] | unknown[:, -1], "left to right"), "y": (unknown[0] | unknown[-1], "top to bottom")}
    for direction in wrap:
        painted, reach = joints[direction]
        if not painted.all():
            raise RequestError(
                f"wrap {wrap!r} cannot be: the picture reaches from {reach}, and its own sides do not meet. "
                "Use a larger canvas or a smaller scale, so that something is painted between them."
            )


def _warnings(found: CanvasPlan) -> list[str]:
    notes = []
    if found.visible.area < found.placed.area:
        outside = 1 - found.visible.area / found.placed.area
        notes.append(f"{outside:.0%} of the picture falls outside the canvas and is cropped.")
    painted, hidden = _masked_shares(found)
    if painted == 1:
        notes.append(
            f"mask_expand {found.mask_expand} covers the whole visible picture: the model sees none of it. "
            "Use a smaller one."
        )
    elif 1 - hidden < HARDLY:
        notes.append(f"Only {_percent(1 - hidden)} of the visible picture is kept; the rest of it is painted anew.")
    elif painted > 1 - HARDLY:
        notes.append(
            f"{_percent(painted)} of the canvas is painted: the model has little of the picture to go by. "
            "Use a larger scale or a smaller canvas."
        )
    return notes


def _masked_shares(found: CanvasPlan) -> tuple[float, float]:
    """The share of the canvas that is painted, and that of the visible picture; in bands of rows."""
    whole, seen = found.whole, found.visible
    painted = hidden = 0
    for top in range(0, whole.bottom, BAND):
        mask = found.mask_in(replace(whole, top=top, bottom=min(top + BAND, whole.bottom)))
        painted += int(mask.sum(dtype=np.float64))
        within = mask[max(0, seen.top - top) : max(0, seen.bottom - top), seen.left : seen.right]
        hidden += int(within.sum(dtype=np.float64))
    return painted / (whole.right * whole.bottom), hidden / seen.area


def _hidden_note(share: float) -> list[str]:
    """What a person who sees no hole in the picture would not expect."""
    if not share:
        return []
    return [f"{_percent(share)} of the visible picture is transparent or masked, so it is painted."]


def _percent(share: float) -> str:
    return f"{share:.0%}" if HARDLY <= share <= 1 - HARDLY else f"{share:.2%}"
