"""How the UNet learns what is known: further channels (9), or latents that are put back before every call (4)."""

from typing import NamedTuple

import numpy as np

from ..samplers import Constrain
from ..schedule import Level
from ..tensors import Array
from .prediction import Predict

__all__ = ["Held", "hold_by_grey", "hold_known", "mask_channels", "with_mask_channels"]


class Held(NamedTuple):
    """Known latents and their noise (B, 4, h, w), and the mask (1, 1, h, w) that is 0 where they are put back."""

    known: Array
    noise: Array
    mask: Array


def mask_channels(mask: Array, masked_latents: Array) -> Array:
    """What a 9-channel UNet sees beside x: the mask (1, 1, h, w) and the masked picture's latents (B, 4, h, w)."""
    masks = mask.repeat(len(masked_latents), axis=0)
    return np.concatenate([masks, masked_latents], axis=1).astype(np.float32)


def with_mask_channels(predict: Predict, mask: Array, masked_latents: Array) -> Predict:
    """For 9-channel UNets: append `mask_channels`. A sample has B rows, or with guidance twice B."""
    extra = mask_channels(mask, masked_latents)

    def nine_channels(sample: Array, timestep: float, context: Array) -> Array:
        repeated = np.tile(extra, (len(sample) // len(extra), 1, 1, 1))
        return predict(np.concatenate([sample, repeated], axis=1), timestep, context)

    return nine_channels


def hold_known(known: Array, noise: Array, mask: Array) -> Constrain:
    """For 4-channel UNets: put the known latents, noised to the current level, wherever `mask` is 0.

    Always the same `noise`, as in diffusers' inpaint pipeline. For a mask of 0 and 1.
    """

    def constrain(x: Array, level: Level) -> Array:
        return (1 - mask) * level.mix(known, noise) + mask * x

    return constrain


def hold_by_grey(known: Array, noise: Array, mask: Array, calls: int) -> Constrain:
    """Hold the known latents, noised to the current level, for a share 1 - `mask` of a run's `calls`; then let go.

    Differential diffusion (Levin and Fried 2023, arXiv 2306.00950, algorithm 1), with the threshold of diffusers'
    pipeline_stable_diffusion_xl_differential_img2img.py. Where the mask is 0 they are held to the end, as `hold_known`
    does. For one run: it counts its calls.
    """
    made = 0

    def constrain(x: Array, level: Level) -> Array:
        nonlocal made
        made += 1
        held = 1 - mask > made / calls if made < calls else mask == 0
        return np.where(held, level.mix(known, noise), x)

    return constrain
