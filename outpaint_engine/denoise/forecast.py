"""Straight lines through what the UNet gave lately, read at timesteps where it is not run.

TaylorSeer (Liu et al. 2025, arXiv 2503.06923) of first order, on the UNet's output.
"""

from collections.abc import Container

import numpy as np

from ..tensors import Array
from .prediction import Predict

__all__ = ["Trend", "forecast", "whole_calls"]


def whole_calls(calls: range, every: int) -> frozenset[int]:
    """Every `every`-th of `calls`, from the first, and the last: what it gives is not corrected by a later one."""
    return frozenset((*calls[::every], *calls[-1:]))


class Trend:
    """The line through the latest two of a run's arrays, by timestep; `slope` is how much of its slope is taken.

    Rows are guidance's: where a call has fewer than the arrays kept, they are the prompt's, which come last.
    """

    def __init__(self, slope: float = 1.0) -> None:
        self._slope = slope
        self._points: list[tuple[float, Array]] = []

    def add(self, t: float, value: Array) -> None:
        """Take in the array of a whole call."""
        # Where a call has more rows than the ones before, the line begins anew.
        self._points = [*(each for each in self._points[-1:] if len(each[1]) >= len(value)), (t, value)]

    def at(self, t: float, rows: int) -> Array:
        """The line's value at timestep `t`, for a call of `rows` rows; of one point, that one's."""
        latest, newer = self._points[-1]
        if len(self._points) == 1:
            return newer[-rows:]
        before, older = self._points[0]
        ahead = np.float32(self._slope * (t - latest) / (latest - before))
        return newer[-rows:] + ahead * (newer[-rows:] - older[-rows:])


def forecast(predict: Predict, whole: Container[int], slope: float = 1.0) -> Predict:
    """Call the UNet in the calls `whole` of a run, from 0, and read its output off a line in the others."""
    trend = Trend(slope)
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
