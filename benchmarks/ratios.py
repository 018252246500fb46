"""The ratio of two sides that took turns, with a confidence interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Ratio", "paired_ratio"]

RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """Median over the rounds of one side's seconds divided by another's, and its 95 % bootstrap interval."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.4g} [{self.low:.4g}, {self.high:.4g}]"


def paired_ratio(seconds: Sequence[float], base: Sequence[float]) -> Ratio:
    """Entry by entry the same round, so what slowed the machine for a round slowed both.

    The interval is the percentile bootstrap (Efron 1979) of the median over rounds; fewer than five tell little.
    """
    ratios = np.array(seconds) / np.array(base)
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), (2.5, 97.5))
    return Ratio(*(round(float(value), 5) for value in (np.median(ratios), low, high)))
