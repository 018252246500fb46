"""Euler, Euler ancestral and Heun over sigma.

Legend (Karras et al. 2022, arXiv 2206.00364): x = x_0 + sigma eps, and dx / dsigma = (x - x_0) / sigma = eps.
"""

from collections.abc import Iterator

import numpy as np

from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["ancestral", "euler", "euler_a", "heun"]


def euler(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Euler's method: algorithm 1 of Karras et al. without its correction."""
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        x = x + np.float32(time.next.noise - time.level.noise) * predicted.noise
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def euler_a(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Ancestral Euler: a step further down than asked, then noise back up (equation (16) of DDIM with eta 1)."""
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        down, up = ancestral(time.level.noise, time.next.noise)
        x = x + np.float32(down - time.level.noise) * predicted.noise + np.float32(up) * noise()
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def heun(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Heun's method: algorithm 1 of Karras et al.; two calls a step, one in the last.

    The trial point of the first call is constrained too; the second step starts again from where the first did.
    """
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        if index % 2 == 0:
            start, slope, h = x, predicted.noise, np.float32(time.next.noise - time.level.noise)
            x = start + h * slope
        else:
            x = start + h / 2 * (slope + predicted.noise)
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def ancestral(sigma: float, target: float) -> tuple[float, float]:
    """How far down to step from `sigma`, and how much noise to add, to arrive at `target`: down^2 + up^2 = target^2."""
    return target**2 / sigma, target * max(0.0, 1 - (target / sigma) ** 2) ** 0.5
