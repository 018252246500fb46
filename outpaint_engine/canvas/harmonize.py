"""Colour match: brings the painted area's colours to those of the kept picture beside it.

Decoding shifts colours, and painting may miss them. Where the picture shows, the miss is known, because there
the model's rendering can be compared with the picture itself. It is carried outward with growing blur, so that
the two meet and only low frequencies are changed further out, and fades with the distance. In the blend band
the picture counts as far as it shows, and detail stays the model's. Where nothing kept is near, nothing is
changed.
"""

import numpy as np

from ..tensors import Array
from .infill import spread
from .masks import box_sum, continued, within

__all__ = ["color_match"]


def color_match(painted: Array, canvas: Array, share: Array, blur: int, reach: int, wrap: str = "") -> Array:
    """Return `painted` corrected near the kept picture.

    Args:
        painted: decoded pixels, float32 (height, width, 3) in [0, 255], kept region included.
        canvas: the picture on its canvas, uint8, read where `share` is below 1.
        share: float32 (height, width), the weight of painted pixels in the result; 0 = kept.
        blur: detail up to about so many pixels is not corrected; 0 corrects all.
        reach: pixels over which the correction fades to nothing.
        wrap: directions in which the canvas goes on at its other side.
    """
    margin = reach + 2 * blur
    painted, canvas, share = (continued(each, margin, wrap) for each in (painted, canvas, share))
    shown = 1 - share
    miss, weight = (canvas - painted) * shown[..., None], shown
    for _ in range(2 if blur else 0):
        miss, weight = box_sum(miss, blur), box_sum(weight, blur)
    miss = miss / np.maximum(weight, 1e-6)[..., None]
    near, radius = (share == 0).astype(np.float32), reach // 2
    window = box_sum(np.ones_like(near), radius)
    for _ in range(2):
        near = box_sum(near, radius) / window
    # Just outside a corner of the picture a quarter of the window is kept: full correction from there on.
    fade = np.clip(4 * near, 0, 1)[..., None]
    return within((painted + fade * spread(miss, shown > 0)).astype(np.float32), margin, wrap)
