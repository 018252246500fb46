"""Straight lines through what the UNet gave lately, read at timesteps where it is not run.

TaylorSeer (Liu et al. 2025, arXiv 2503.06923) of first order, on the UNet's output.
"""

from collections.abc import Container

import numpy as np

from ..tensors import Array
from .prediction import Predict

__all__ = ["Trend", "forecast", "whole_calls"]


def whole_calls(calls: range, every: int) -> frozenset[int]:
    """The first two of `calls` and every `every`-th after: two points make a line."""
    return frozenset((*calls[:1], *calls[1::every]))


class Trend:
    """The line through the latest two of a run's arrays, by timestep; `damping` shortens its slope, 1 is the line.

    Rows are guidance's: where a call has fewer than the arrays kept, they are the prompt's, which come last.
    """

    def __init__(self, damping: float = 1.0) -> None:
        self._damping = damping
        self._points: list[tuple[float, Array]] = []

    def add(self, t: float, value: Array) -> None:
        """Take in the array of a whole call."""
        # Where a call has more rows than the ones before, the line begins anew.
        self._points = [*(each for each in self._points[-1:] if len(each[1]) >= len(value)), (t, value)]

    def at(self, t: float, rows: int) -> Array:
        """The line's value at timestep `t`, for a call of `rows` rows; needs two points of at least as many."""
        (before, older), (latest, newer) = self._points
        ahead = np.float32(self._damping * (t - latest) / (latest - before))
        return newer[-rows:] + ahead * (newer[-rows:] - older[-rows:])


def forecast(predict: Predict, whole: Container[int], damping: float = 1.0) -> Predict:
    """Call the UNet in the calls `whole` of a run, from 0, and read its output off a line in the others."""
    trend = Trend(damping)
    call = -1

    def whole_or_forecast(sample: Array, timestep: float, context: Array) -> Array:
        nonlocal call
        call += 1
        if call not in whole:
            return trend.at(timestep, len(sample))
        output = predict(sample, timestep, context)
        trend.add(timestep, output)
        return output

    return whole_or_forecast
