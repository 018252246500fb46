"""Pictures made smaller and larger window by window, so that memory does not grow with them."""

import numpy as np

from ..canvas import Box
from ..tensors import Array

__all__ = ["enlarged", "shrunk", "steepened"]

BAND = 64
"""Rows of the smaller picture that are made together."""
REACH = 4
"""Source pixels that Lanczos looks beyond a window, and one more."""


def shrunk(pixels: Array, size: tuple[int, int]) -> Array:
    """`pixels` at a smaller `size` (width, height), by box averaging.

    uint8 (height, width) or (height, width, 3); or bool (height, width), which becomes uint8 with 255 where all of a
    pixel is True.
    """
    from PIL import Image

    (width, height), (tall, wide) = size, pixels.shape[:2]
    bands = []
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        first, last = top * tall / height, bottom * tall / height
        start = int(first)
        rows = pixels[start : -int(-last // 1)]
        source = Image.fromarray(rows if rows.dtype == np.uint8 else rows * np.uint8(255))
        box = (0, first - start, wide, last - start)
        bands.append(np.asarray(source.resize((width, bottom - top), Image.Resampling.BOX, box)))
    return np.concatenate(bands)


def enlarged(pixels: Array, size: tuple[int, int], box: Box, wrap: str = "") -> Array:
    """What lies in `box` of `pixels`, uint8 (height, width, 3), brought to a larger `size` (width, height) by Lanczos.

    The same, to a level, as in a whole enlarged picture. In the directions of `wrap` the picture goes on at its other
    side, and the box may reach beyond the canvas.
    """
    from PIL import Image

    spans = []
    sides = (
        ("x", size[0], pixels.shape[1], box.left, box.right),
        ("y", size[1], pixels.shape[0], box.top, box.bottom),
    )
    for direction, side, own, first, last in sides:
        low, high = first * own / side, last * own / side
        taken = np.arange(int(np.floor(low)) - REACH, int(np.ceil(high)) + REACH)
        start = taken[0]
        if direction in wrap:
            taken %= own
        else:
            taken = taken[(taken >= 0) & (taken < own)]
            start = taken[0]
        spans.append((taken, low - start, high - start))
    (columns, left, right), (rows, top, bottom) = spans
    source = Image.fromarray(pixels[np.ix_(rows, columns)])
    target = box.right - box.left, box.bottom - box.top
    return np.asarray(source.resize(target, Image.Resampling.LANCZOS, (left, top, right, bottom)))


def steepened(pixels: Array, radius: int) -> Array:
    """Edges of `pixels`, uint8 (height, width, 3), made steeper, for pictures that were enlarged by about 2 `radius`.

    Each value moves towards the nearer of the smallest and the largest within `radius` (Kramer & Bruckner 1975), by a
    smoothstep between the two: an even slope stays as it is, and nothing overshoots.
    """
    low, high = (_extreme(pixels, radius, pick) for pick in (np.minimum, np.maximum))
    span = (high - low).astype(np.float32)
    share = (pixels - low) / np.maximum(span, 1)
    return low + span * (share * share * (3 - 2 * share))


def _extreme(values: Array, radius: int, pick: np.ufunc) -> Array:
    """The extreme of the (2 radius + 1)-sided square around each pixel."""
    for axis in (0, 1):
        rows = np.moveaxis(
            np.pad(values, [(radius, radius) if axis == each else (0, 0) for each in range(3)], "edge"), axis, 0
        )
        count = len(rows) - 2 * radius
        found = rows[:count]
        for shift in range(1, 2 * radius + 1):
            found = pick(found, rows[shift : shift + count])
        values = np.moveaxis(found, 0, axis)
    return values
