"""PNDM and LMS: one model call a step, extrapolated from the last four predictions (Adams-Bashforth)."""

import math
from collections.abc import Iterator

import numpy as np

from ..schedule import Level, Time
from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["lms", "pndm"]

ADAMS_BASHFORTH = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
"""Weights of the latest outputs, newest first, by how many there are."""


def pndm(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """PNDM (Liu et al. 2022, arXiv 2202.09778): with `skip_prk_steps` PLMS, else begun by Runge and Kutta's method.

    The linear multistep method on the outputs, then the paper's transfer part, which is DDIM's step.
    As diffusers has it: the raw outputs are extrapolated, also those of v models. PLMS makes its first step twice, the
    second time with the mean of the outputs at both its ends. Runge and Kutta's method takes four calls a step, and
    where a run starts late it still goes by the first timesteps of the full one.
    """
    outputs: list[Array] = []
    runge_kutta = 0 if walk.schedule.settings.skip_prk_steps else 12
    for index in walk.calls:
        time, made = walk.times[index], index - walk.start
        predicted = denoise(x, time)
        if made < runge_kutta:
            if made % 4 == 0:
                first, slope, outputs = x, np.zeros_like(x), [*outputs[-3:], predicted.output]
            slope = slope + np.float32((1 / 6, 1 / 3, 1 / 3, 1 / 6)[made % 4]) * predicted.output
            output = slope if made % 4 == 3 else predicted.output
            level, reached = walk.times[made // 4 * 4].level, _prk_level(walk, index, made)
        elif made == 1 and not runge_kutta:
            output, level, reached = (predicted.output + outputs[-1]) / 2, _level_before(walk, time), time.level
        else:
            first, outputs = x, [*outputs[-3:], predicted.output]
            output, level, reached = _adams_bashforth(outputs), time.level, time.next
        extrapolated = walk.schedule.read(output, first, level)
        x = constrain(reached.mix(extrapolated.x0, extrapolated.noise), walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _adams_bashforth(outputs: list[Array]) -> Array:
    output = np.zeros_like(outputs[-1])
    for weight, past in zip(ADAMS_BASHFORTH[len(outputs)], reversed(outputs), strict=True):
        output = output + np.float32(weight) * past
    return output


def _level_before(walk: Walk, time: Time) -> Level:
    """The level one stride above `time`'s."""
    last = len(walk.schedule.alphas_cumprod) - 1
    return walk.schedule.level(min(int(time.t) + (last + 1) // max(1, len(walk.times) - 1), last))


def _prk_level(walk: Walk, index: int, made: int) -> Level:
    """Where a call of Runge and Kutta's method goes: half a stride down from its timestep, or to that itself."""
    half = len(walk.schedule.alphas_cumprod) // (len(walk.times) - 9) // 2
    return walk.schedule.level(int(walk.times[index].t) - (0 if made % 2 else half))


def lms(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Linear multistep over sigma (Adams-Bashforth for uneven steps; compare Zhang & Chen 2023, arXiv 2204.13902).

    x = x_0 + sigma eps and dx / dsigma = eps. The order, at most 4, is that of the full run: a run that starts
    late takes the weights of order 4 from its first step and has fewer predictions to weigh, as diffusers does.
    """
    slopes: list[Array] = []
    sigmas = [time.level.noise for time in walk.times]
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        slopes = [predicted.noise, *slopes[:3]]
        weights = _lagrange_integrals(sigmas[max(0, index - 3) : index + 1][::-1], time.level.noise, time.next.noise)
        for weight, slope in zip(weights, slopes, strict=False):
            x = x + np.float32(weight) * slope
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _lagrange_integrals(nodes: list[float], low: float, high: float) -> list[float]:
    """The integral from `low` to `high` of each Lagrange basis polynomial over at most 4 `nodes`.

    By Gauss and Legendre's rule of two points, which is exact for polynomials of degree 3 and less.
    """
    middle, half = (high + low) / 2, (high - low) / 2
    points = middle - half / math.sqrt(3), middle + half / math.sqrt(3)
    weights = []
    for k, node in enumerate(nodes):
        others = [*nodes[:k], *nodes[k + 1 :]]
        values = (math.prod((point - other) / (node - other) for other in others) for point in points)
        weights.append(half * sum(values))
    return weights
