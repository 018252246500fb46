"""How well the painted area joins the picture, measured on the result alone: no reference, no network.

Three figures: that the kept pixels were kept, whether a line shows at the seam, whether colour jumps there.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..tensors import Array
from .planning import CanvasPlan

__all__ = ["QualityReport", "report", "tile_edge_ratio"]

NEAR, FAR, RING = 8, 32, 16
BAND = 256
"""Rows that are compared together, so that a large picture needs little memory."""
QUANTISATION = 0.25
"""Levels added to both gradients: half the rounding of a uint8, so that a flat sky does not divide 0 by 0."""


@dataclass(frozen=True)
class QualityReport:
    """Figures of one result; the last two are None where no side of the picture meets painted canvas.

    `kept_pixels` lie outside the blend band and `changed_pixels` of them differ from the (resized) input,
    which must be 0. `seam_gradient_ratio`: mean gradient across the seam band over the mean of the same
    8 to 32 pixels beyond it; 1 is seamless, above a line shows, below it is blurred. `ring_color_shift`: jump
    of the 16-pixel rings' mean colour across the seam, beyond the trend on either side, in levels of 255.
    `tile_edge_ratio`, where something was refined in tiles: see the function of that name.
    """

    kept_pixels: int
    changed_pixels: int
    seam_gradient_ratio: float | None
    ring_color_shift: float | None
    tile_edge_ratio: float | None = None


class Side(NamedTuple):
    """One side of the picture that meets painted canvas.

    `rows` is (depth, length, 3), running from the painted area inward; row `seam` is the picture's first and
    the kept picture begins at row `kept`.
    """

    rows: Array
    seam: int
    kept: int


def report(result: Array, canvas: Array, plan: CanvasPlan) -> QualityReport:
    """Measure a uint8 (height, width, 3) result against the canvas it was made from."""
    kept = changed = 0
    for top in range(0, plan.whole.bottom, BAND):
        band = replace(plan.whole, top=top, bottom=min(top + BAND, plan.whole.bottom))
        rows, keeps = slice(band.top, band.bottom), plan.share_in(band) == 0
        kept += int(keeps.sum())
        changed += int((result[rows] != canvas[rows]).any(axis=-1)[keeps].sum())
    sides = list(_sides(result, plan))
    if not sides:
        return QualityReport(kept, changed, None, None)
    lengths = [side.rows.shape[1] for side in sides]
    ratio = np.average([_gradient_ratio(side) for side in sides], weights=lengths)
    shift = np.average([_color_shift(side) for side in sides], weights=lengths)
    return QualityReport(kept, changed, float(ratio), float(shift))


def tile_edge_ratio(result: Array, plan: CanvasPlan, rows: Set[int], columns: Set[int]) -> float | None:
    """Mean gradient across tile edges over that across other multiples of 8 pixels, on painted pixels; 1 is seamless.

    `rows` and `columns` are where tiles begin or end; None where no edge is painted.
    """
    at_edges, beside = _Mean(), _Mean()
    for pixels, unknown, lines in ((result, plan.unknown, rows), (result.swapaxes(0, 1), plan.unknown.T, columns)):
        for at in range(8, len(pixels), 8):
            painted = unknown[at - 1] & unknown[at]
            steps = np.abs(np.diff(pixels[at - 1 : at + 1].astype(np.float32), axis=0))[0, painted]
            (at_edges if at in lines else beside).add(steps)
    if not at_edges.count or not beside.count:
        return None
    return (at_edges.value + QUANTISATION) / (beside.value + QUANTISATION)


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, values: Array) -> None:
        self.total += float(values.sum())
        self.count += values.size

    @property
    def value(self) -> float:
        return self.total / self.count


def _sides(pixels: Array, plan: CanvasPlan) -> Iterator[Side]:
    """The sides with two rings of canvas on either hand; smaller ones say nothing."""
    box = plan.visible
    spans = ((box.top, box.bottom), (box.left, box.right))
    for axis in (0, 1):
        along = slice(*spans[1 - axis])
        rows = (pixels if axis == 0 else pixels.swapaxes(0, 1))[:, along]
        first, last = spans[axis]
        for seam, view in ((first, rows), (len(rows) - last, rows[::-1])):
            kept = seam + plan.mask_expand
            if seam >= 2 * RING and last - first >= plan.mask_expand + 2 * RING and rows.shape[1] >= RING:
                yield _side(view, seam, kept)


def _side(view: Array, seam: int, kept: int) -> Side:
    """Only the rows that are looked at, as floats."""
    first = max(0, seam - 2 - FAR)
    rows = view[first : kept + 2 + FAR].astype(np.float32)
    return Side(rows, seam - first, kept - first)


def _gradient_ratio(side: Side) -> float:
    steps = np.abs(np.diff(side.rows, axis=0)).mean(axis=(1, 2))
    at_seam = steps[side.seam - 2 : side.kept + 1]
    outside = steps[max(0, side.seam - 2 - FAR) : side.seam - 2 - NEAR]
    inside = steps[side.kept + 1 + NEAR : side.kept + 1 + FAR]
    beside = np.concatenate([outside, inside])
    return float((at_seam.mean() + QUANTISATION) / (beside.mean() + QUANTISATION))


def _color_shift(side: Side) -> float:
    """The rings' difference less what the slopes on either side explain."""

    def ring(start: int) -> Array:
        return side.rows[start : start + RING].mean(axis=(0, 1))

    far_out, near_out = ring(side.seam - 2 * RING), ring(side.seam - RING)
    near_in, far_in = ring(side.kept), ring(side.kept + RING)
    slope = ((near_in - far_in) + (far_out - near_out)) / 2
    distance = (RING + side.kept - side.seam) / RING
    return float(np.abs(near_out - near_in - distance * slope).mean())
