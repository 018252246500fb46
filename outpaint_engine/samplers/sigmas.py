"""How the noise levels of a run are spread between its noisiest and its last: functions of the settings.

Each returns sigmas, noisiest first, float64.
"""

import math

import numpy as np

from ..schedule import NoiseSchedule, Settings
from ..tensors import Array

__all__ = ["inverse_beta", "spread", "whole_lambdas"]

RHO = 7.0


def spread(settings: Settings, largest: float, smallest: float, steps: int) -> Array | None:
    """The sigmas between these two as `use_*_sigmas` asks for; None where none of those keys is set.

    `sigma_max` and `sigma_min` take the place of the two, but not in LMS' Karras sigmas, as in diffusers.
    """
    if not (settings.kind == "LMSDiscreteScheduler" and settings.use_karras_sigmas):
        largest = largest if settings.sigma_max is None else settings.sigma_max
        smallest = smallest if settings.sigma_min is None else settings.sigma_min
    if settings.use_karras_sigmas:
        # Equation (5) of Karras et al. 2022 (arXiv 2206.00364).
        high, low = largest ** (1 / RHO), smallest ** (1 / RHO)
        return (high + np.linspace(0, 1, steps) * (low - high)) ** RHO
    if settings.use_exponential_sigmas:
        return np.exp(np.linspace(math.log(largest), math.log(smallest), steps))
    if settings.use_beta_sigmas:
        # Lee et al. 2024 (arXiv 2407.12173): quantiles of Beta(0.6, 0.6).
        return smallest + inverse_beta(1 - np.linspace(0, 1, steps), 0.6) * (largest - smallest)
    return None


def whole_lambdas(schedule: NoiseSchedule, steps: int) -> Array:
    """Even in log sigma over the whole schedule (`use_lu_lambdas`; Lu et al. 2022, arXiv 2206.00927)."""
    logs = np.log(schedule.sigmas.astype(np.float32)).astype(np.float64)
    return np.exp(logs[-1] + np.linspace(0, 1, steps) * (logs[0] - logs[-1]))


def inverse_beta(shares: Array, a: float) -> Array:
    """Quantiles of the symmetric distribution Beta(a, a), to the last digits of float64.

    Of the lower half by bisection of its series x^a (1 - x)^a sum (2a)_n / (a + 1)_n x^n / (a B(a, a)); the upper half
    mirrors it.
    """
    lower = np.minimum(shares, 1 - shares)
    factors = np.cumprod([1.0, *((2 * a + n) / (a + 1 + n) for n in range(60))])
    scale = math.gamma(2 * a) / (a * math.gamma(a) ** 2)
    low, high = np.zeros_like(lower), np.full_like(lower, 0.5)
    for _ in range(70):
        x = (low + high) / 2
        below = scale * (x * (1 - x)) ** a * np.polynomial.polynomial.polyval(x, factors) < lower
        low, high = np.where(below, x, low), np.where(below, high, x)
    return np.where(shares > 0.5, 1 - low, low)
