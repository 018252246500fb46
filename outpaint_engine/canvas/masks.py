"""The arithmetic of masks: grown, ramped, brought to latents; and how the untouched pixels come back.

Masks are in [0, 1] with 1 = unknown, to be painted (diffusers' convention).
"""

import numpy as np

from ..tensors import Array

__all__ = ["box_sum", "continued", "dilated", "latent_mask", "painted_share", "paste_back", "smoothstep", "within"]


def box_sum(values: Array, radius: int) -> Array:
    """Sum over the (2 radius + 1)-sided square around each pixel, cut off at the border; first two axes."""
    for axis in (0, 1):
        border = [(radius, radius) if axis == each else (0, 0) for each in range(values.ndim)]
        runs = np.moveaxis(np.pad(values, border), axis, 0)
        values = np.moveaxis(_run_sum(runs, 2 * radius + 1), 0, axis)
    return values


def _run_sum(values: Array, length: int) -> Array:
    """Sum of each run of `length` rows, put together from runs of 1, 2, 4, ... rows: few passes, no cancellation."""
    count = len(values) - length + 1
    total, summed = np.zeros_like(values[:count]), 0
    for bit in range(length.bit_length()):
        power = 1 << bit
        if length & power:
            total += values[summed : summed + count]
            summed += power
        values = values[:-power] + values[power:]
    return total


def dilated(mask: Array, radius: int) -> Array:
    """Grow a binary mask by `radius` pixels in every direction."""
    return (box_sum((mask > 0).astype(np.int32), radius) > 0).astype(np.float32)


def painted_share(unknown: Array, mask_expand: int) -> Array:
    """1 on unknown canvas, 0 beyond `mask_expand` pixels from it, a smoothstep of the distance between.

    A box mean (radius r) over the mask dilated by mask_expand - r is a linear ramp of exactly that width.
    """
    radius = mask_expand // 2
    grown = dilated(unknown, mask_expand - radius).astype(np.int32)
    linear = box_sum(grown, radius) / box_sum(np.ones_like(grown), radius)
    return smoothstep(linear).astype(np.float32)


def smoothstep(linear: Array) -> Array:
    """From 0 to 1 as `linear` does, level at both ends."""
    return linear * linear * (3 - 2 * linear)


def latent_mask(mask: Array, factor: int = 8) -> Array:
    """Maximum of a (height, width) mask over each `factor`-sided block: unknown wins. Shape (1, 1, h, w)."""
    height, width = mask.shape
    blocks = mask.reshape(height // factor, factor, width // factor, factor)
    return blocks.max(axis=(1, 3))[None, None].astype(np.float32)


def continued(values: Array, margin: int, wrap: str) -> Array:
    """`values` (height, width, ...) with a margin from their other side at each border, in the directions `wrap`."""
    margins = [(margin, margin) if direction in wrap else (0, 0) for direction in "yx"]
    return np.pad(values, margins + [(0, 0)] * (values.ndim - 2), mode="wrap") if wrap else values


def within(values: Array, margin: int, wrap: str) -> Array:
    """`values` without the margin that `continued` added."""
    rows, columns = (slice(margin, -margin) if direction in wrap and margin else slice(None) for direction in "yx")
    return values[rows, columns]


def paste_back(painted: Array, known: Array, share: Array) -> Array:
    """Blend two uint8 (height, width, 3) pictures by `share`; where it is 0, `known` is kept byte for byte."""
    weight = share[..., None]
    mixed = known + (painted.astype(np.float32) - known) * weight
    return np.where(weight == 0, known, np.clip(np.rint(mixed), 0, 255)).astype(np.uint8)
