"""Colour match: brings the painted area's low frequencies to those of the known picture beside it.

Decoding shifts colours a little, everywhere and smoothly. Around the seam the shift is known, because there
the model's rendering of known pixels can be compared with the pixels themselves; carried on outward and
fading with distance, it is taken from the painted area. Where nothing known is near, nothing is changed.
"""

import numpy as np

from .canvas import box_sum
from .tensors import Array

__all__ = ["color_match"]


def color_match(painted: Array, canvas: Array, unknown: Array, reach: int) -> Array:
    """Return `painted` corrected near the known picture.

    Args:
        painted: decoded pixels, float32 (height, width, 3) in [0, 255], known region included.
        canvas: the picture on its canvas, uint8, read where `unknown` is 0.
        unknown: float32 (height, width), 1 = unknown.
        reach: pixels over which the correction fades to nothing.
    """
    known = (unknown == 0).astype(np.float32)
    shift = (canvas - painted) * known[..., None]
    weight = known
    radius = reach // 2
    for _ in range(2):
        shift, weight = (box_sum(values, radius) / (2 * radius + 1) ** 2 for values in (shift, weight))
    correction = shift / np.maximum(weight, 1e-4)[..., None]
    # Just outside a corner of the picture a quarter of the window is known: full correction from there on.
    fade = np.clip(4 * weight, 0, 1)[..., None]
    return (painted + fade * correction).astype(np.float32)
