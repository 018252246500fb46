"""DPM2 and DPM2 ancestral: the midpoint method in log sigma; two calls a step, one in the last.

DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927, algorithm 1) over Karras' sigmas (arXiv 2206.00364, (5)).
Legend: x = x_0 + sigma eps, dx / dsigma = eps.
"""

from collections.abc import Iterator

import numpy as np

from ..schedule import CLEAN, Level
from ..tensors import Array
from .euler import ancestral
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["dpm2", "dpm2_a"]


def dpm2(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Euler to the midpoint, then the whole step with the slope found there."""
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        if index % 2 == 0:
            start, sigma = x, time.level.noise
        x = start + np.float32(time.next.noise - sigma) * predicted.noise
        x = constrain(x, _held(walk, index))
        yield walk.step(index, x, predicted.x0)


def dpm2_a(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """As `dpm2`, but each whole step goes further down than asked and noise brings it back up."""
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        if index % 2 == 0:
            start, sigma = x, time.level.noise
            x = start + np.float32(time.next.noise - sigma) * predicted.noise
        else:
            down, up = ancestral(sigma, time.next.noise)
            x = start + np.float32(down - sigma) * predicted.noise + np.float32(up) * noise()
        x = constrain(x, _held(walk, index))
        yield walk.step(index, x, predicted.x0)


def _held(walk: Walk, index: int) -> Level:
    """Where the whole step goes: diffusers noises the known region to that level at the midpoint as well."""
    return walk.times[index | 1].next if index + 1 < len(walk.times) else CLEAN
