"""Colour match: brings the painted area's colours to those of the kept picture beside it.

Decoding shifts colours, and painting may miss them. At the border of what is kept the miss is known, because
there the model's rendering can be compared with the picture itself. It is carried outward with growing blur,
so that the two meet exactly and only low frequencies are changed further out, and fades with the distance.
Where nothing kept is near, nothing is changed.
"""

import numpy as np

from .canvas import box_sum
from .infill import spread
from .tensors import Array

__all__ = ["color_match"]


def color_match(painted: Array, canvas: Array, mask: Array, reach: int) -> Array:
    """Return `painted` corrected near the kept picture.

    Args:
        painted: decoded pixels, float32 (height, width, 3) in [0, 255], kept region included.
        canvas: the picture on its canvas, uint8, read where `mask` is 0.
        mask: float32 (height, width), 0 = kept.
        reach: pixels over which the correction fades to nothing.
    """
    kept = mask == 0
    miss = np.where(kept[..., None], canvas - painted, np.float32(0))
    near, radius = kept.astype(np.float32), reach // 2
    window = box_sum(np.ones_like(near), radius)
    for _ in range(2):
        near = box_sum(near, radius) / window
    # Just outside a corner of the picture a quarter of the window is kept: full correction from there on.
    fade = np.clip(4 * near, 0, 1)[..., None]
    return (painted + fade * spread(miss, kept)).astype(np.float32)
