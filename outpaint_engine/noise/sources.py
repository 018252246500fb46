"""What every source of noise does, and the sources by the names that a request gives them."""

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from ..tensors import Array
from .mt19937 import TorchNoise
from .philox import TorchCudaNoise

__all__ = ["NOISES", "NoiseSource", "NumpyNoise", "noise_source", "random_seed"]


class NoiseSource(Protocol):
    """One seeded generator: every draw goes on where the last one ended."""

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw float32 standard normals of `shape`, in C order."""


class NumpyNoise:
    """`numpy.random.default_rng(seed).standard_normal(shape, numpy.float32)`: PCG64 and a ziggurat."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw float32 standard normals of `shape`, in C order."""
        return self._generator.standard_normal(shape, np.float32)


NOISES: Mapping[str, Callable[[int], NoiseSource]] = {
    "torch": TorchNoise,
    "torch-cuda": TorchCudaNoise,
    "numpy": NumpyNoise,
}
"""Name in a request -> source of a seed from 0 to 2^63 - 1."""


def noise_source(name: str, seed: int) -> NoiseSource:
    """The source `name` of `NOISES`, seeded."""
    return NOISES[name](seed)


def random_seed() -> int:
    """A seed for a request that left the choice to us: 32 bits, so that every generator takes it."""
    return secrets.randbits(32)
