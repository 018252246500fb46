"""PNDM and LMS: one model call a step, extrapolated from the last four predictions (Adams-Bashforth)."""

import math
from collections.abc import Iterator

import numpy as np

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
    """PNDM without its Runge-Kutta start (PLMS) (Liu et al. 2022, arXiv 2202.09778).

    The linear multistep method on the outputs, then the paper's transfer part, which is DDIM's step.
    As diffusers has it with `skip_prk_steps`: the raw outputs are extrapolated, also those of v models; the
    first step is made twice, the second time with the mean of the outputs at both its ends.
    """
    outputs: list[Array] = []
    last = len(walk.schedule.alphas_cumprod) - 1
    stride = (last + 1) // max(1, len(walk.times) - 1)
    first = x
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        level, reached = time.level, time.next
        if index - walk.start == 1:
            output = (predicted.output + outputs[-1]) / 2
            x, level, reached = first, walk.schedule.level(min(int(time.t) + stride, last)), level
        else:
            outputs = [*outputs[-3:], predicted.output]
            weights = ADAMS_BASHFORTH[len(outputs)]
            output = np.zeros_like(predicted.output)
            for weight, past in zip(weights, reversed(outputs), strict=True):
                output = output + np.float32(weight) * past
        extrapolated = walk.schedule.read(output, x, level)
        x = constrain(reached.mix(extrapolated.x0, extrapolated.noise), walk.held(index))
        yield walk.step(index, x, predicted.x0)


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
