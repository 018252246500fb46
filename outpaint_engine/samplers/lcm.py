"""LCM: for distilled models; every call answers with a whole picture, noised anew for the next."""

from collections.abc import Iterator

import numpy as np

from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["lcm"]

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def lcm(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Latent consistency sampling (Luo et al. 2023, arXiv 2310.04378, algorithm 3).

    f(x, t) = c_skip(t) x + c_out(t) x_0, whose boundary condition is f(x, 0) = x; t is scaled by 10.
    """
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        t = TIMESTEP_SCALING * time.t
        c_skip, c_out = SIGMA_DATA**2 / (t**2 + SIGMA_DATA**2), t / (t**2 + SIGMA_DATA**2) ** 0.5
        picture = np.float32(c_out) * predicted.x0 + np.float32(c_skip) * x
        x = time.next.mix(picture, noise()) if index + 1 < len(walk.times) else picture
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, picture)
