"""DPM-Solver and DPM-Solver++, multistep (2M, 3M), single-step (2S, 3S) and as SDEs.

Lu et al. 2022, arXiv 2206.00927 and 2211.01095. Legend: a, s = signal and noise of x; lambda = log(a / s); h =
difference of lambda over a step, so exp(-h) = (s' / a') / (s / a) is the ratio of the sigmas; D0, D1, D2 = the
prediction and its differences over the step, of x_0 ("dpmsolver++", "sde-dpmsolver++") or of the noise ("dpmsolver").
With a last sigma of 0 the last step is of first order: it lands on x_0.
"""

import math
from collections.abc import Iterator

import numpy as np

from ..schedule import Level, Prediction, Settings
from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["dpm_multistep", "dpm_singlestep", "lambda_step"]


def dpm_multistep(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Algorithm 2 of the second paper: differences over the last steps' predictions."""
    settings = walk.schedule.settings
    known: list[Array] = []
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        known = [*known, _taken(predicted, settings)][-settings.solver_order :]
        order = min(len(known), _multistep_order(walk, index))
        levels = [walk.times[n].level for n in range(index - order + 1, index + 1)]
        x = _advance(
            x, _multistep_differences(known[-order:], levels, time.next), time.level, time.next, settings, noise
        )
        x = constrain(x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _multistep_order(walk: Walk, index: int) -> int:
    settings, left, time = walk.schedule.settings, len(walk.times) - index, walk.times[index]
    if time.next.sigma == time.level.sigma:
        return 1
    # diffusers lowers the order of the last steps of short runs, and always before a clean picture.
    lowered = settings.lower_order_final and len(walk.times) < 15
    if left == 1 and (settings.euler_at_final or lowered or settings.final_sigmas_type == "zero"):
        return 1
    return min(settings.solver_order, left) if lowered else settings.solver_order


def _multistep_differences(known: list[Array], levels: list[Level], reached: Level) -> list[Array]:
    """D0, D1, D2 at the level of this call, of as many predictions as there are; the latest come last."""
    if len(known) == 1:
        return known
    h = lambda_step(reached, levels[-1])
    r0 = lambda_step(levels[-1], levels[-2]) / h
    latest = (known[-1] - known[-2]) / np.float32(r0)
    if len(known) == 2:
        return [known[-1], latest]
    r1 = lambda_step(levels[-2], levels[-3]) / h
    bend = (latest - (known[-2] - known[-3]) / np.float32(r1)) / np.float32(r0 + r1)
    return [known[-1], latest + np.float32(r0) * bend, bend]


def dpm_singlestep(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Algorithm 1 of the second paper, as diffusers splits it: steps of rising order in turn, one call each.

    A step of higher order goes again from where the first-order step before it began. Where a run starts at one,
    its order counts from there.
    """
    settings, orders = walk.schedule.settings, _orders(walk.schedule.settings, len(walk.times))
    known: list[Array] = []
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        known = [*known, _taken(predicted, settings)][-settings.solver_order :]
        order = min(len(known), orders[index])
        if order == 1:
            start = x
        levels = [walk.times[n].level for n in range(index - order + 1, index + 1)]
        differences = _singlestep_differences(known[-order:], levels, time.next, settings)
        x = constrain(_advance(start, differences, levels[0], time.next, settings, noise), walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _orders(settings: Settings, steps: int) -> list[int]:
    """The order of each step: 1, 2, .. up to the solver's, over and over."""
    order = settings.solver_order
    orders = [1 + n % order for n in range(steps)]
    ends_clean = settings.final_sigmas_type == "zero"
    if (settings.lower_order_final or ends_clean) and steps % order == 0 and order > 1:
        orders[-2:] = [order - 1, 1]
    if ends_clean:
        orders[-1] = 1
    return orders


def _singlestep_differences(known: list[Array], levels: list[Level], reached: Level, settings: Settings) -> list[Array]:
    """D0, D1, D2 at the level where the first of these predictions was made."""
    if len(known) == 1:
        return known
    h = lambda_step(reached, levels[0])
    r0 = lambda_step(levels[-1], levels[0]) / h
    whole = (known[-1] - known[0]) / np.float32(r0)
    if len(known) == 2:
        return [known[0], whole]
    if settings.solver_type == "midpoint":
        return [known[0], whole, np.zeros_like(whole)]
    r1 = lambda_step(levels[1], levels[0]) / h
    part = (known[1] - known[0]) / np.float32(r1)
    slope = (np.float32(r0) * part - np.float32(r1) * whole) / np.float32(r0 - r1)
    return [known[0], slope, (whole - part) * np.float32(2 / (r0 - r1))]


def _taken(predicted: Prediction, settings: Settings) -> Array:
    return predicted.noise if settings.algorithm_type == "dpmsolver" else predicted.x0


def _advance(
    x: Array, differences: list[Array], level: Level, reached: Level, settings: Settings, noise: Noise
) -> Array:
    """The step that is exact where the prediction is D0 + D1 and D2 times the step's monomials.

    Of x_0: x' = (s' / s) x + a' (1 - exp(-h)) D0 + ...; as an SDE over 2 h, with new noise; of the noise with the
    parts of signal and noise exchanged and h negative.
    """
    shrink = reached.sigma / level.sigma
    stochastic = settings.algorithm_type == "sde-dpmsolver++"
    if settings.algorithm_type == "dpmsolver":
        carried, scale, decay = reached.signal / level.signal, reached.noise, 1 / shrink
    else:
        decay = shrink**2 if stochastic else shrink
        carried, scale = reached.noise / level.noise * (shrink if stochastic else 1), reached.signal
    phi = 1 - decay
    moved = np.float32(carried) * x + np.float32(scale * phi) * differences[0]
    if len(differences) > 1:
        span = -math.log(decay)
        middle = settings.solver_type == "midpoint" and len(differences) == 2
        moved = moved + np.float32(scale * (phi / 2 if middle else 1 - phi / span)) * differences[1]
    if len(differences) > 2:
        # The sign of the half is diffusers' in either case.
        bend = (phi - span) / span**2 + (-0.5 if stochastic else 0.5)
        moved = moved + np.float32(scale * bend) * differences[2]
    if stochastic:
        moved = moved + np.float32(reached.noise * (1 - decay) ** 0.5) * noise()
    return moved


def lambda_step(reached: Level, level: Level) -> float:
    """h, the difference of lambda between two levels."""
    return float(np.log(level.sigma / reached.sigma))
