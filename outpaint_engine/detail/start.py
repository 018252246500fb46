"""What a level begins with: the picture below it enlarged, and its own picture pasted where it is known."""

from dataclasses import replace

import numpy as np

from ..canvas import Box, paste_back
from ..place import Placed
from ..tensors import Array
from .resize import enlarged, steepened

__all__ = ["Start"]

BAND = 256
STEEPER = 2
"""Radius in pixels of one pass of `steepened`, which suits an enlargement by 2."""


class Start:
    """Reads any window of it, so that the whole is never held.

    `below` is the finished smaller picture, uint8 (height, width, 3). The two are blended over the level's band: a hard
    edge would be taken for something to paint.
    """

    def __init__(self, below: Array, placed: Placed) -> None:
        self._below, self._placed = below, placed
        times = np.sqrt(placed.plan.unknown.size / (below.shape[0] * below.shape[1]))
        self._passes = max(1, round(np.log2(times)))

    def whole(self) -> Array:
        """All of it, uint8, made in bands of rows."""
        whole, pixels = self._placed.plan.whole, np.empty_like(self._placed.canvas)
        for top in range(0, whole.bottom, BAND):
            box = replace(whole, top=top, bottom=min(top + BAND, whole.bottom))
            pixels[box.top : box.bottom] = self.pixels(box)
        return pixels

    def pixels(self, box: Box) -> Array:
        """uint8 (height, width, 3) of a window, which may go beyond a border that wraps."""
        return self.pasted(self.enlarged(box), box)

    def enlarged(self, box: Box) -> Array:
        """The enlarged picture in a window, uint8, with edges made steeper."""
        plan, margin = self._placed.plan, STEEPER * self._passes
        whole = plan.whole
        wide = Box(box.left - margin, box.top - margin, box.right + margin, box.bottom + margin)
        within = _within(wide, whole, plan.wrap)
        pixels = enlarged(self._below, (whole.right, whole.bottom), within, plan.wrap)
        for _ in range(self._passes):
            pixels = np.rint(steepened(pixels, STEEPER)).astype(np.uint8)
        top, left = box.top - within.top, box.left - within.left
        return pixels[top : top + box.bottom - box.top, left : left + box.right - box.left]

    def pasted(self, painted: Array, box: Box) -> Array:
        """`painted`, float32 or uint8, with the level's own picture over it by its share; uint8."""
        height, width = self._placed.canvas.shape[:2]
        rows, columns = np.arange(box.top, box.bottom) % height, np.arange(box.left, box.right) % width
        return paste_back(painted, self._placed.canvas[rows[:, None], columns], self._placed.plan.share_in(box))


def _within(box: Box, whole: Box, wrap: str) -> Box:
    """The box, cut off at borders that do not wrap."""
    left, right = (box.left, box.right) if "x" in wrap else (max(0, box.left), min(box.right, whole.right))
    top, bottom = (box.top, box.bottom) if "y" in wrap else (max(0, box.top), min(box.bottom, whole.bottom))
    return Box(left, top, right, bottom)
