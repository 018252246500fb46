"""Keeps what is refined to the composition's low frequencies (ILVR, Choi et al. 2021, arXiv 2108.02938)."""

import numpy as np

from ..canvas import box_sum
from ..samplers import Constrain
from ..schedule import Level
from ..tensors import Array

__all__ = ["anchored", "low_frequencies"]


def anchored(composition: Array, noise: Array, share: Array, radius: int, wrap: str = "") -> Constrain:
    """Pull x towards the composition: x' = x + share (low(y) - low(x)), equation (8) with y noised to x's level.

    `composition` and `noise` are latents (1, 4, h, w); `share` is float32 (h, w), 0 where x goes free.
    """
    known_low, noise_low = (low_frequencies(each[0], radius, wrap)[None] for each in (composition, noise))

    def constrain(x: Array, level: Level) -> Array:
        # The filter is linear: low(level.mix(y, noise)) without filtering again.
        target = level.mix(known_low, noise_low)
        return x + share * (target - low_frequencies(x[0], radius, wrap)[None])

    return constrain


def low_frequencies(values: Array, radius: int, wrap: str = "") -> Array:
    """`values` (channels, height, width) through a box of `radius`, twice; the mean of what is there at borders."""
    margin = 2 * radius
    rows, columns = (margin if direction in wrap else 0 for direction in "yx")
    filtered = np.pad(values.transpose(1, 2, 0), ((rows, rows), (columns, columns), (0, 0)), mode="wrap")
    count = np.ones(filtered.shape[:2], np.float32)[..., None]
    filtered, count = (box_sum(box_sum(each, radius), radius) for each in (filtered, count))
    mean = (filtered / count).transpose(2, 0, 1)
    height, width = values.shape[1:]
    return mean[:, rows : rows + height, columns : columns + width]
