"""LCM and TCD: for distilled models; every call answers with a whole picture, noised anew for the next."""

from collections.abc import Iterator

import numpy as np

from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["lcm", "tcd"]

SIGMA_DATA = 0.5


def lcm(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Latent consistency sampling (Luo et al. 2023, arXiv 2310.04378, algorithm 3).

    f(x, t) = c_skip(t) x + c_out(t) x_0, whose boundary condition is f(x, 0) = x; t is scaled by `timestep_scaling`.
    """
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        t = walk.schedule.settings.timestep_scaling * time.t
        c_skip, c_out = SIGMA_DATA**2 / (t**2 + SIGMA_DATA**2), t / (t**2 + SIGMA_DATA**2) ** 0.5
        picture = np.float32(c_out) * predicted.x0 + np.float32(c_skip) * x
        x = time.next.mix(picture, noise()) if index + 1 < len(walk.times) else picture
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, picture)


def tcd(
    denoise: Denoise,
    x: Array,
    walk: Walk,
    *,
    constrain: Constrain = unconstrained,
    noise: Noise = no_noise,
    eta: float = 0.0,
) -> Iterator[Step]:
    """Strategic stochastic sampling of trajectory consistency models (Zheng et al. 2024, arXiv 2402.19159, 4.2).

    A step goes down to timestep (1 - eta) t' and noise brings it back up to t'; eta is the paper's gamma, and 0 draws
    nothing. The last one ends at timestep 0, as in diffusers.
    """
    schedule = walk.schedule
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        last = index + 1 == len(walk.times)
        reached = 0.0 if last else walk.times[index + 1].t
        # In float32, as torch takes the floor.
        down = schedule.level(int(np.floor(np.float32(1 - eta) * np.float32(reached))))
        x = down.mix(predicted.x0, predicted.noise)
        if eta > 0 and not last:
            share = (time.next.signal / down.signal) ** 2
            x = np.float32(share**0.5) * x + np.float32(max(0.0, 1 - share) ** 0.5) * noise()
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)
