"""Which part of a training picture is known, and the picture with the rest hidden, as outpainting will show it."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def outpainting_mask(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """One known rectangle in latent pixels (0), everything around it unknown (1); 10 % know nothing at all."""
    mask = np.ones((height, width), np.float32)
    if rng.random() < 0.1:
        return mask
    while mask.min() == 1 or mask.max() == 0 or not 0.15 <= mask.mean() <= 0.9:
        mask[...] = 1
        top, left = (int(rng.integers(1, size // 2)) * int(rng.random() < 0.4) for size in (height, width))
        bottom, right = (
            size - int(rng.integers(1, 3 * size // 4)) * int(rng.random() < 0.5) for size in (height, width)
        )
        mask[top:bottom, left:right] = 0
    return mask


def masked_picture(pixels: Tensor, mask: Tensor) -> Tensor:
    """`pixels` (..., 8h, 8w) in [-1, 1] with mid-grey wherever `mask` (..., h, w) is 1."""
    return pixels * (1 - mask.repeat_interleave(8, -1).repeat_interleave(8, -2))
