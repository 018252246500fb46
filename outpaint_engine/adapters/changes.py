"""What an adapter file does to one weight, and what several files do to it one after another.

A DoRA (Liu et al. 2024, arXiv:2402.09353) also states a magnitude for each output: how long the row of weights is that
makes it, once the product was added.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import AdapterError
from ..tensors import Array
from .factors import Factors, delta_of

__all__ = ["LayerChange", "make_changes"]


class LayerChange(NamedTuple):
    """What is added to one weight at strength 1: `scale` times the product of `factors`.

    A DoRA's `magnitude` is float32 (out,).
    """

    file: Path
    name: str
    factors: Factors
    scale: float
    shape: tuple[int, ...]
    magnitude: Array | None = None

    def delta(self, strength: float = 1.0) -> Array:
        """What is added at `strength`: float32, in the weight's shape.

        Raises:
            AdapterError: it has numbers beyond float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            change = delta_of(self.factors, strength * self.scale).reshape(self.shape)
        if not np.isfinite(change).all():
            raise AdapterError(f"{self.file} changes {self.name!r} by more than float32 holds. Give another file.")
        return change


def make_changes(weight: Array, changes: Iterable[tuple[LayerChange, float]]) -> None:
    """Change a float32 weight, with torch's axes, in place: each change at its strength, in their order.

    One of strength 0 is left out. A DoRA is merged as PEFT does (`peft/tuners/lora/variants.py`): its delta at its
    strength is added, then each row, with what earlier files added, is multiplied by magnitude / norm, where norm is
    that of the unchanged row with this delta alone.

    Raises:
        AdapterError: a delta has numbers beyond float32, or a row's norm is 0 or beyond float32.
    """
    used = [(change, strength) for change, strength in changes if strength]
    base = weight.copy() if any(change.magnitude is not None for change, _ in used) else weight
    for change, strength in used:
        delta = change.delta(strength)
        with np.errstate(all="ignore"):
            weight += delta
            if change.magnitude is not None:
                weight *= _row_factors(change, np.add(base, delta, order="C")).reshape(-1, *(1,) * (weight.ndim - 1))


def _row_factors(change: LayerChange, rows: Array) -> Array:
    # Rows that lie one after another are summed in the same order whichever way round the weight is stored.
    norms = np.linalg.norm(rows.reshape(len(rows), -1), axis=1)
    factors: Array = change.magnitude / norms
    if not np.isfinite([norms, factors]).all():
        raise AdapterError(
            f"{change.file} is a DoRA that leaves a row of {change.name!r} with a norm of 0, or beyond float32. "
            "Use another strength, or give another file."
        )
    return factors
