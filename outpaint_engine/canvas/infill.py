"""Fills the unknown canvas before it is encoded, so that the model starts from something plausible.

`edge` spreads the picture's border colours outward with growing blur (a push-pull pyramid: each level halves
the resolution, so what is far from the picture is seen through a wide filter). `noise` adds texture with the
picture's own spectrum and histogram. `grey` is the mid-grey that inpainting checkpoints were trained on.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ..tensors import Array
from .masks import box_sum

__all__ = ["INFILLS", "choose_infill", "infill", "spread"]


def infill(kind: str, canvas: Array, unknown: Array, seed: int) -> Array:
    """Return `canvas` with its unknown pixels filled.

    Args:
        kind: a key of `INFILLS`.
        canvas: uint8 (height, width, 3); what it holds on unknown pixels is ignored.
        unknown: float32 (height, width), 1 = unknown.
        seed: of the texture, for `noise` alone; its stream is a child of the one that `NumpyNoise` draws from.
    """
    known = unknown == 0
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    filled = INFILLS[kind](canvas.astype(np.float32), known, rng)
    return np.where(known[..., None], canvas, np.clip(np.rint(filled), 0, 255)).astype(np.uint8)


def choose_infill(unet_channels: int, strength: float) -> str:
    """The kind that "auto" means.

    A 4-channel model below strength 1 starts from the fill, which then decides the result: texture helps.
    At strength 1 the fill acts only through the encoder's blur at the border: plain colours. A 9-channel
    model is shown the hole as grey in any case.
    """
    if unet_channels == 9:
        return "grey"
    return "noise" if strength < 1 else "edge"


def spread(values: Array, known: Array) -> Array:
    """Fill the unknown pixels of `values` (height, width, channels) smoothly from the known ones.

    Pixels that touch known ones take their mean; the rest is filled the same way at half the resolution, so
    that the filter widens with the distance.
    """
    height, width = known.shape
    if known.all() or not known.any():
        return values
    weight = known.astype(np.float32)
    near = box_sum(weight, 1)
    reached = near > 0
    touched = box_sum(values * weight[..., None], 1) / np.maximum(near, 1)[..., None]
    values = np.where(known[..., None], values, touched)
    if reached.all():
        return values
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    weight = np.pad(reached.astype(np.float32)[..., None], pad)
    share = _halved(weight)
    coarse = _halved(np.pad(values, pad) * weight) / np.maximum(share, 1e-6)
    coarse = spread(coarse, share[..., 0] > 0)
    return np.where(reached[..., None], values, _doubled(coarse)[:height, :width])


def _halved(values: Array) -> Array:
    height, width, channels = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def _doubled(values: Array) -> Array:
    """Twice the resolution, linear between pixel centres (weights 3/4 and 1/4)."""
    for axis in (0, 1):
        before = np.concatenate([values.take([0], axis), values], axis)
        after = np.concatenate([values, values.take([-1], axis)], axis)
        length = values.shape[axis]
        even = 0.75 * values + 0.25 * before.take(range(length), axis)
        odd = 0.75 * values + 0.25 * after.take(range(1, length + 1), axis)
        values = np.stack([even, odd], axis + 1).reshape(*values.shape[:axis], 2 * length, *values.shape[axis + 1 :])
    return values


def _edge(canvas: Array, known: Array, rng: np.random.Generator) -> Array:
    return spread(canvas, known)


def _grey(canvas: Array, known: Array, rng: np.random.Generator) -> Array:
    return np.full_like(canvas, 127.5)


def _noise(canvas: Array, known: Array, rng: np.random.Generator) -> Array:
    """Edge colours plus noise: white noise given the known detail's spectrum, then its histogram."""
    base = spread(canvas, known)
    detail = np.where(known[..., None], canvas - _soft(canvas, known), 0)
    amplitude = np.abs(np.fft.fft2(detail, axes=(0, 1)))
    white = np.fft.fft2(rng.standard_normal(known.shape))[..., None]
    shaped = np.fft.ifft2(white * amplitude, axes=(0, 1)).real
    matched = np.stack(
        [_matched(shaped[..., channel][~known], detail[..., channel][known]) for channel in range(canvas.shape[2])], -1
    )
    base[~known] += matched
    return base


def _soft(canvas: Array, known: Array) -> Array:
    """The canvas seen through an 8-pixel filter, known pixels only."""
    height, width = known.shape
    weight = known[..., None].astype(np.float32)
    pad = ((0, -height % 8), (0, -width % 8), (0, 0))
    blocks = np.pad(canvas * weight, pad), np.pad(weight, pad)
    sums = [part.reshape(-(-height // 8), 8, -(-width // 8), 8, -1).sum(axis=(1, 3)) for part in blocks]
    coarse = spread(sums[0] / np.maximum(sums[1], 1), sums[1][..., 0] > 0)
    for _ in range(3):
        coarse = _doubled(coarse)
    return coarse[:height, :width]


def _matched(values: Array, reference: Array) -> Array:
    """`values` with their ranks kept and their distribution replaced by that of `reference`."""
    order = np.argsort(values)
    matched = np.empty(len(values), np.float32)
    places = np.linspace(0, len(reference) - 1, len(values))
    matched[order] = np.interp(places, np.arange(len(reference)), np.sort(reference))
    return matched


INFILLS: Mapping[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "edge": _edge,
    "noise": _noise,
    "grey": _grey,
}
"""Name of an infill to its function of (canvas as float32, known as bool, generator)."""
