"""What a level begins with: the picture below it enlarged, matched to its own picture, and that one pasted."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..canvas import Box, CanvasPlan, color_match, paste_back
from ..run import Placed
from ..tensors import Array
from .resize import enlarged, steepened

__all__ = ["begin", "paste"]

CELL, MARGIN = 512, 128
"""Pixels that are made together, and how far beyond them is looked. Multiples of a power of 2: the colour match halves
its windows, and does so at the same places in each of them."""
REACH, BLUR = 64, 16
"""Of the colour match, in pixels; wider differences were matched on the levels below."""
STEEPER, PASSES = 2, 2
"""Radius in pixels of a pass of `steepened`, and passes for each enlargement by 2. They bring scenes that were made
smaller, and enlarged again, closer to what they were: by 4, from 47.0 to 48.8 dB; by 2, from 51.8 to 52.4."""


def begin(below: Array, placed: Placed, match: bool = True) -> Array:
    """Enlarge `below`, the finished smaller picture, uint8 (height, width, 3); gives this level's, uint8.

    The level's own picture is blended in over its band: a hard edge would be taken for something to paint.
    """
    canvas, plan = placed
    pixels = canvas.copy()
    doublings = np.log2(plan.unknown.size / (below.shape[0] * below.shape[1])) / 2
    passes = max(1, round(PASSES * doublings))
    for cell in _cells(plan.whole):
        if plan.mask_in(cell).any():
            wide = _beyond(cell, MARGIN, plan)
            larger = _larger(below, plan, wide, passes)
            if match:
                larger = _matched(larger, placed, wide)
            top, left = cell.top - wide.top, cell.left - wide.left
            paste(
                pixels, larger[top : top + cell.bottom - cell.top, left : left + cell.right - cell.left], placed, cell
            )
    return pixels


def paste(pixels: Array, painted: Array, placed: Placed, box: Box) -> None:
    """Write `painted` into a box of `pixels`, and the level's own picture over it by its share."""
    inside = slice(box.top, box.bottom), slice(box.left, box.right)
    pixels[inside] = paste_back(painted, placed.canvas[inside], placed.plan.share_in(box))


def _cells(whole: Box) -> Iterator[Box]:
    for top in range(0, whole.bottom, CELL):
        for left in range(0, whole.right, CELL):
            yield Box(left, top, min(left + CELL, whole.right), min(top + CELL, whole.bottom))


def _larger(below: Array, plan: CanvasPlan, box: Box, passes: int) -> Array:
    """The enlarged picture in a window, uint8, with edges made steeper."""
    wide = _beyond(box, STEEPER * passes, plan)
    pixels = enlarged(below, (plan.whole.right, plan.whole.bottom), wide, plan.wrap)
    for _ in range(passes):
        pixels = np.rint(steepened(pixels, STEEPER)).astype(np.uint8)
    top, left = box.top - wide.top, box.left - wide.left
    return pixels[top : top + box.bottom - box.top, left : left + box.right - box.left]


def _matched(larger: Array, placed: Placed, box: Box) -> Array:
    """The enlarged picture in a window with the colours of the level's own near it."""
    canvas, plan = placed
    share = plan.share_in(box)
    if share.all() or not share.any():
        return larger
    rows, columns = np.arange(box.top, box.bottom) % len(canvas), np.arange(box.left, box.right) % canvas.shape[1]
    own, blur = canvas[rows[:, None], columns], min(BLUR, plan.mask_expand // 4)
    return color_match(larger.astype(np.float32), own, share, blur, REACH)


def _beyond(box: Box, margin: int, plan: CanvasPlan) -> Box:
    """The box and a margin around it, which ends at borders that do not wrap."""
    whole = plan.whole
    wide = Box(box.left - margin, box.top - margin, box.right + margin, box.bottom + margin)
    if "x" not in plan.wrap:
        wide = replace(wide, left=max(0, wide.left), right=min(wide.right, whole.right))
    if "y" not in plan.wrap:
        wide = replace(wide, top=max(0, wide.top), bottom=min(wide.bottom, whole.bottom))
    return wide
