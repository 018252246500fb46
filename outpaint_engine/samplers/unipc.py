"""UniPC: a multistep predictor, corrected once the prediction at its end is known; one call a step."""

from collections.abc import Iterator

import numpy as np

from ..schedule import Level, Settings
from ..tensors import Array
from .dpmsolver import lambda_step
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["unipc"]


def unipc(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """UniP and UniC, multistep (Zhao et al. 2023, arXiv 2302.04867), of the order and with the B(h) of the settings.

    A correction goes again from where the last step began: what `constrain` did to x reaches later steps
    through the prediction only, until the last.
    """
    settings = walk.schedule.settings
    known: list[Array] = []
    began, order = x, 0
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        found = predicted.x0 if settings.predict_x0 else predicted.noise
        if known and index - 1 not in settings.disable_corrector:
            levels = [walk.times[n].level for n in range(index - order, index + 1)]
            x = _advance(began, known[-order:], levels, settings, found)
        known, began = [*known, found][-settings.solver_order :], x
        order = min(len(known), len(walk.times) - index) if settings.lower_order_final else len(known)
        levels = [*(walk.times[n].level for n in range(index - order + 1, index + 1)), time.next]
        x = constrain(_advance(x, known[-order:], levels, settings), walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _advance(
    x: Array, known: list[Array], levels: list[Level], settings: Settings, ahead: Array | None = None
) -> Array:
    """From `levels[-2]` to `levels[-1]`, with predictions at all `levels` but the last, or `ahead` at that one too.

    x' = (s' / s) x - a' (e^hh - 1) m0 - a' B sum(rho_k D_k), hh = -h, of x_0; of the noise with signal and noise
    exchanged and hh = h. D_k = (m_k - m0) / r_k; the weights rho solve R rho = b, rows sum(r^n rho) = b_n.
    """
    level, reached = levels[-2:]
    if reached.sigma == level.sigma:
        return x
    if settings.predict_x0:
        carried, scale = reached.noise / level.noise, reached.signal
        growth = reached.sigma / level.sigma - 1
    else:
        carried, scale = reached.signal / level.signal, reached.noise
        growth = level.sigma / reached.sigma - 1
    *older, latest = known
    moved = np.float32(carried) * x - np.float32(scale * growth) * latest
    if not older and ahead is None:
        return moved
    h = lambda_step(reached, level)
    ratios = [lambda_step(earlier, level) / h for earlier in levels[:-2]]
    differences = [(m - latest) / np.float32(r) for m, r in zip(older, ratios, strict=True)]
    big = (-h if settings.predict_x0 else h) if settings.solver_type == "bh1" else growth
    if ahead is not None:
        ratios, differences = [*ratios, 1.0], [*differences, ahead - latest]
    weights = _weights(ratios, -h if settings.predict_x0 else h, big, ahead is not None)
    for weight, difference in zip(weights, differences, strict=True):
        moved = moved - np.float32(scale * big * weight) * difference
    return moved


def _weights(ratios: list[float], hh: float, big: float, corrects: bool) -> list[float]:
    """The rho_k of one step: b_n = n! phi_(n+1)(hh) hh / B; of a single difference 1/2, as diffusers has it."""
    if len(ratios) == 1:
        return [0.5]
    phi, factorial, b = np.expm1(hh) / hh - 1, 1, []
    for n in range(1, len(ratios) + 1):
        b.append(phi * factorial / big)
        factorial *= n + 1
        phi = phi / hh - 1 / factorial
    rows = np.vander(ratios, increasing=True).T
    return [float(weight) for weight in np.linalg.solve(rows, b)]
