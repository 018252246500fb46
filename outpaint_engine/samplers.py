"""Samplers: generator functions that walk from noise to a picture, one step an iteration.

They know a model that predicts (`Denoise`), a list of `Time`s, and a constraint on x; nothing of guidance,
masks, engines or progress bars. Whoever stops iterating has cancelled the run.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .schedule import Prediction, Time
from .tensors import Array

__all__ = ["Constrain", "Denoise", "Step", "ddim", "unconstrained"]

Denoise = Callable[[Array, Time], Prediction]
Constrain = Callable[[Array, float], Array]
"""(x_t, alpha) -> x_t with the known region pinned; called on x before every model call but the first."""


class Step(NamedTuple):
    """After step `number` (from 0): the latents now, and the picture as the model sees it so far."""

    number: int
    time: Time
    x: Array
    x0: Array


def unconstrained(x: Array, alpha: float) -> Array:
    """No known region."""
    return x


def ddim(
    denoise: Denoise,
    x: Array,
    times: Sequence[Time],
    *,
    constrain: Constrain = unconstrained,
    eta: float = 0.0,
    noise: Callable[[], Array] | None = None,
) -> Iterator[Step]:
    """DDIM (Song et al. 2021, arXiv 2010.02502), equations (12) and (16).

    `noise` draws standard normals of x's shape; needed when eta > 0. The last x is constrained too, which
    puts the clean known latents back. Same order as diffusers' scheduling_ddim.py and inpaint pipeline.
    """
    for index, time in enumerate(times):
        predicted = denoise(x, time)
        variance = (1 - time.alpha_prev) / (1 - time.alpha) * (1 - time.alpha / time.alpha_prev)
        sigma = eta * variance**0.5
        direction = np.float32(max(0.0, 1 - time.alpha_prev - sigma**2) ** 0.5) * predicted.noise
        x = np.float32(time.alpha_prev**0.5) * predicted.x0 + direction
        if sigma > 0 and noise is not None:
            x = x + np.float32(sigma) * noise()
        following = times[index + 1].alpha if index + 1 < len(times) else 1.0
        x = constrain(x, following)
        yield Step(index, time, x, predicted.x0)
