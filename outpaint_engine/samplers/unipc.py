"""UniPC of second order: DPM++ 2M's step, corrected once the prediction at its end is known; one call a step."""

from collections.abc import Iterator

import numpy as np

from ..schedule import Level
from ..tensors import Array
from .dpmpp import advance, extrapolated, lambda_step
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["unipc"]


def unipc(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """UniPC-2 predicting x_0, B(h) = e^h - 1 ("bh2") (Zhao et al. 2023, arXiv 2302.04867): UniP and UniC, multistep.

    A correction goes again from where the last step began: what `constrain` did to x reaches later steps
    through the prediction only, until the last.
    """
    m0: Array | None = None
    m1: Array | None = None
    began = x
    for index in walk.calls:
        time = walk.times[index]
        x0 = denoise(x, time).x0
        if m0 is not None:
            levels = [walk.times[n].level for n in range(max(walk.start, index - 2), index + 1)]
            x = advance(began, _corrected(x0, m0, m1, levels), levels[-2], levels[-1])
        m0, m1, began = x0, m0, x
        x = advance(x, extrapolated(walk, index, m0, m1), time.level, time.next)
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, x0)


def _corrected(x0: Array, m0: Array, m1: Array | None, levels: list[Level]) -> Array:
    """The x_0 of the step into `levels[-1]`, from the prediction at its end and the two before it.

    UniC's weights rho with R rho = b, rows sum(r^k rho) = b_k; r = 1 for the new
    prediction and r1 < 0 for the one before last. With hh = -h and B = e^hh - 1:
    b_1 = (B / hh - 1) / B, b_2 = 2 ((B / hh - 1) / hh - 1 / 2) / B.
    """
    if m1 is None:
        return (m0 + x0) / 2
    h = lambda_step(levels[-1], levels[-2])
    r1 = -lambda_step(levels[-2], levels[-3]) / h
    big = np.expm1(-h)
    b1 = (big / -h - 1) / big
    b2 = 2 * ((big / -h - 1) / -h - 0.5) / big
    older = (b1 - b2) / (1 - r1)
    return m0 + np.float32(older / r1) * (m1 - m0) + np.float32(b1 - older) * (x0 - m0)
