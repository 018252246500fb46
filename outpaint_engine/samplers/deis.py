"""DEIS: the multistep method whose polynomial is in log sigma; one call a step."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.polynomial import Polynomial

from ..tensors import Array
from .loop import Constrain, Denoise, Noise, Step, Walk, no_noise, unconstrained

__all__ = ["deis"]


def deis(
    denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = unconstrained, noise: Noise = no_noise
) -> Iterator[Step]:
    """Log-rho DEIS (Zhang & Chen 2023, arXiv 2204.13902, tAB): d(x / a) = eps d sigma, eps in log sigma.

    The order falls in the last two steps of runs of less than 15, as diffusers has it.
    """
    settings, steps = walk.schedule.settings, len(walk.times)
    known: list[Array] = []
    for index in walk.calls:
        time = walk.times[index]
        predicted = denoise(x, time)
        known = [predicted.noise, *known][: settings.solver_order]
        order = min(len(known), steps - index) if settings.lower_order_final and steps < 15 else len(known)
        nodes = [walk.times[index - n].level.sigma for n in range(order)]
        x = x / np.float32(time.level.signal)
        for weight, eps in zip(_weights(nodes, time.level.sigma, time.next.sigma), known, strict=False):
            x = x + np.float32(weight) * eps
        x = constrain(np.float32(time.next.signal) * x, walk.held(index))
        yield walk.step(index, x, predicted.x0)


def _weights(sigmas: list[float], low: float, high: float) -> list[float]:
    """The integral over sigma, from `low` to `high`, of each Lagrange basis polynomial in log sigma."""
    nodes, weights = [math.log(sigma) for sigma in sigmas], []
    for k, node in enumerate(nodes):
        others = [*nodes[:k], *nodes[k + 1 :]]
        basis = Polynomial([1.0])
        for other in others:
            basis = basis * Polynomial([-other, 1.0]) / (node - other)
        # The integral of p(u) e^u is e^u (p - p' + p'' - ..).
        inner = basis - basis.deriv() + basis.deriv(2)
        weights.append(float(high * inner(math.log(high)) - low * inner(math.log(low))))
    return weights
