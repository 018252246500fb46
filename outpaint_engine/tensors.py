"""The words every floor shares for arrays: what an array is, and what an engine says of its inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Shapes", "TensorSpec"]

Array = NDArray[Any]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names of inputs and their shapes, by name."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of one input or output; a dimension is a number or the name of a free axis."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]

    @classmethod
    def stated(cls, entry: Mapping[str, Any]) -> Self:
        """Of a manifest's entry."""
        return cls(entry["name"], np.dtype(entry["dtype"]), tuple(entry["shape"]))
