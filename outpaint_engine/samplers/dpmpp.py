"""DPM-Solver++ of second order: multistep (2M), its SDE form, and single-step (2S).

Lu et al. 2022, arXiv 2211.01095. Legend: a, s = signal and noise of x; lambda = log(a / s); h = difference of
lambda over a step, so exp(-h) = (s' / a') / (s / a) is the ratio of the sigmas; D = x_0, extrapolated to the middle
of the step. With a last sigma of 0 the last step is of first order: it lands on x_0.
"""

from collections.abc import Iterator

import numpy as np

from ..schedule import Level
from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["advance", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "extrapolated", "lambda_step"]


def dpmpp_2m(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Algorithm 2: D from the last two predictions."""
    x0: Array | None = None
    for index in walk.calls:
        time = walk.times[index]
        before, x0 = x0, denoise(x, time).x0
        x = constrain(advance(x, extrapolated(walk, index, x0, before), time.level, time.next), walk.held(index))
        yield walk.step(index, x, x0)


def dpmpp_2m_sde(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M): x' = (s' / s) e^-h x + a' (1 - e^-2h) D + s' sqrt(1 - e^-2h) z, z standard normal."""
    x0: Array | None = None
    for index in walk.calls:
        time = walk.times[index]
        before, x0 = x0, denoise(x, time).x0
        shrink = time.next.sigma / time.level.sigma
        x = np.float32(time.next.noise / time.level.noise * shrink) * x
        x = x + np.float32(time.next.signal * (1 - shrink**2)) * extrapolated(walk, index, x0, before)
        x = x + np.float32(time.next.noise * (1 - shrink**2) ** 0.5) * noise()
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, x0)


def dpmpp_2s(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Algorithm 1, as diffusers splits it: steps of first and second order in turn, one call each.

    A step of second order goes again from where the first-order step before it began. The last step is of
    first order; where a run starts at a second-order step, that one is of first order too.
    """
    x0: Array | None = None
    last = len(walk.times) - 1
    for index in walk.calls:
        time = walk.times[index]
        before, x0 = x0, denoise(x, time).x0
        if before is None or index % 2 == 0 or index == last:
            start = x
            x = advance(x, x0, time.level, time.next)
        else:
            earlier = walk.times[index - 1].level
            ratio = lambda_step(time.next, earlier) / lambda_step(time.level, earlier)
            middle = before + np.float32(0.5 * ratio) * (x0 - before)
            x = advance(start, middle, earlier, time.next)
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, x0)


def extrapolated(walk: Walk, index: int, x0: Array, before: Array | None) -> Array:
    """D = x0 + (h / 2 h_before) (x0 - before), or x0 in the first and the last step."""
    if before is None or index == len(walk.times) - 1:
        return x0
    time, earlier = walk.times[index], walk.times[index - 1].level
    return x0 + np.float32(0.5 * lambda_step(time.next, time.level) / lambda_step(time.level, earlier)) * (x0 - before)


def advance(x: Array, d: Array, level: Level, reached: Level) -> Array:
    """The step that is exact where D is constant: x' = (s' / s) x + a' (1 - exp(-h)) D."""
    shrink = reached.sigma / level.sigma
    return np.float32(reached.noise / level.noise) * x + np.float32(reached.signal * (1 - shrink)) * d


def lambda_step(reached: Level, level: Level) -> float:
    """h, the difference of lambda between two levels."""
    return float(np.log(level.sigma / reached.sigma))
