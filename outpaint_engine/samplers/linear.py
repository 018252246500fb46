"""What a sampler does, as numbers: the weights with which each x is made of earlier x and of what the model answered.

Most samplers are linear in both, so that running one over `Combination`s in place of arrays says what it would do to
any arrays. Its file stays the only place where a sampler is written down.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..schedule import Level, Prediction, Time
from ..tensors import Array
from .loop import Sampler, Walk

__all__ = ["LinearStep", "linear_steps"]


class LinearStep(NamedTuple):
    """One model call and the x after it, which is constrained to the level `held`.

    `weights` are of the answer to this call, of x before it, of the answer to the call before, of the x before that,
    and so on; `x0` are those of the picture as the model sees it.
    """

    time: Time
    held: Level
    weights: tuple[float, ...]
    x0: tuple[float, ...]


class Combination:
    """A sum of numbered vectors, each times a weight; it does the arithmetic that samplers do to arrays."""

    __array_ufunc__ = None
    """So that a numpy scalar leaves a product with this to this."""

    def __init__(self, weights: Mapping[int, float]) -> None:
        self.weights = {number: weight for number, weight in weights.items() if weight}

    def __add__(self, other: "Combination") -> "Combination":
        numbers = self.weights.keys() | other.weights.keys()
        return Combination({n: self.weights.get(n, 0.0) + other.weights.get(n, 0.0) for n in numbers})

    def __mul__(self, factor: float) -> "Combination":
        return Combination({number: weight * float(factor) for number, weight in self.weights.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Combination":
        return self * (1 / float(divisor))

    def __sub__(self, other: "Combination") -> "Combination":
        return self + other * -1.0

    def __array_function__(self, function: Callable[..., Any], *_: object) -> "Combination":
        return Combination({}) if function is np.zeros_like else NotImplemented


def linear_steps(sampler: Sampler, walk: Walk) -> tuple[LinearStep, ...] | None:
    """The calls of a walk as weights; None where the sampler draws noise or is not linear, as with clipping."""
    times: list[Time] = []
    made: list[tuple[Combination, Level]] = []

    def denoise(x: Any, time: Time) -> Prediction:
        if x.weights != {_x(len(times)): 1.0}:
            raise TypeError("The model is asked of something else than the constrained x.")
        times.append(time)
        output: Any = Combination({_x(len(times)) - 1: 1.0})
        return walk.schedule.read(output, x, time.level)

    def constrain(x: Any, level: Level) -> Array:
        made.append((x, level))
        new: Any = Combination({_x(len(made)): 1.0})
        return new

    first: Any = Combination({_x(0): 1.0})
    try:
        shown: list[Any] = [step.x0 for step in sampler(denoise, first, walk, constrain=constrain)]
    except (AttributeError, TypeError, ValueError):
        return None
    return tuple(
        LinearStep(time, level, _by_age(x, call), _by_age(x0, call))
        for call, (time, (x, level), x0) in enumerate(zip(times, made, shown, strict=True))
    )


def _x(calls: int) -> int:
    """The number of x after so many calls; that of the answer which led to it is one less."""
    return 2 * calls


def _by_age(combination: Combination, call: int) -> tuple[float, ...]:
    """Weights from the answer to `call` back to the oldest vector that counts."""
    newest = _x(call) + 1
    oldest = min(combination.weights, default=newest)
    return tuple(combination.weights.get(number, 0.0) for number in range(newest, oldest - 1, -1))
