"""DDIM and DDPM: one model call a step, each step from the model's x_0.

Legend: a = alphas_cumprod at this call, a' where the step goes; x_t = sqrt(a) x_0 + sqrt(1 - a) eps.
"""

from collections.abc import Iterator

import numpy as np

from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["ddim", "ddpm"]


def ddim(
    denoise: Denoise,
    x: Array,
    walk: Walk,
    *,
    constrain: Constrain = unconstrained,
    noise: Noise = no_noise,
    eta: float = 0.0,
) -> Iterator[Step]:
    """DDIM (Song et al. 2021, arXiv 2010.02502), equations (12) and (16); draws noise when eta > 0."""
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        a, a_next = time.level.signal**2, time.next.signal**2
        sigma = eta * ((1 - a_next) / (1 - a) * (1 - a / a_next)) ** 0.5
        direction = max(0.0, 1 - a_next - sigma**2) ** 0.5
        x = np.float32(time.next.signal) * predicted.x0 + np.float32(direction) * predicted.noise
        if sigma > 0:
            x = x + np.float32(sigma) * noise()
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def ddpm(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """DDPM (Ho et al. 2020, arXiv 2006.11239): the posterior's mean and variance, equations (6) and (7).

    With b = 1 - a / a' for the beta of the whole stride; the variance is (1 - a') / (1 - a) b, or the larger b.
    """
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        a, a_next = time.level.signal**2, time.next.signal**2
        b = 1 - a / a_next
        from_x0, from_x = a_next**0.5 * b / (1 - a), (1 - b) ** 0.5 * (1 - a_next) / (1 - a)
        x = np.float32(from_x0) * predicted.x0 + np.float32(from_x) * x
        variance = b if walk.schedule.settings.variance_type == "fixed_large" else (1 - a_next) / (1 - a) * b
        if variance > 0 and time.t > 0:
            x = x + np.float32(variance**0.5) * noise()
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)
