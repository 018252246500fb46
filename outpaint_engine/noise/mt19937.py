"""Standard normals equal to torch's CPU generator, so that a seed here is the seed in diffusers.

torch draws from mt19937 seeded with the low 32 bits of the seed; floats take 24 bits of one word. Tensors of
16 values and more go through a Box-Muller in blocks of 16 (ATen, native/cpu/DistributionTemplates.h,
`normal_fill`); smaller ones through a double-precision Box-Muller that keeps its second value.
"""

import numpy as np

from ..tensors import Array

__all__ = ["TorchNoise"]

BLOCK = 16
HALF_BLOCK = np.dtype((np.void, BLOCK // 2 * 4))
"""Eight float32 values, to move them in one piece."""


class TorchNoise:
    """`TorchNoise(seed).normal(shape)` is `torch.randn(shape, generator=torch.Generator().manual_seed(seed))`.

    Uniform draws are bit-equal to torch's; normals differ by at most 5e-7 (torch's own logarithm and cosine
    differ by that between kinds of CPU).
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.RandomState(seed & 0xFFFFFFFF)
        self._kept: float | None = None

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw float32 standard normals of `shape`, in C order."""
        count = int(np.prod(shape))
        values = self._blocks(count) if count >= BLOCK else self._one_by_one(count)
        return values.reshape(shape)

    def _blocks(self, count: int) -> Array:
        values = self.uniform(count)
        _box_muller(values[: count // BLOCK * BLOCK])
        if count % BLOCK:
            # The last block is drawn anew and overlaps its predecessor, as torch does.
            values[-BLOCK:] = self.uniform(BLOCK)
            _box_muller(values[-BLOCK:])
        return values

    def uniform(self, count: int) -> Array:
        """Draw `count` float32 values in [0, 1), as `torch.rand` does."""
        # For a range that is a power of two, `randint` takes the low bits of one word a value, as torch does.
        values = self._generator.randint(0, 2**24, count, np.uint32).astype(np.float32)
        values *= np.float32(2**-24)
        return values

    def _one_by_one(self, count: int) -> Array:
        values = np.empty(count, np.float32)
        for index in range(count):
            if self._kept is not None:
                values[index], self._kept = self._kept, None
                continue
            words = [int(word) for word in self._generator.randint(0, 2**32, 4, np.uint32)]
            first, second = (((high << 32 | low) & (2**53 - 1)) * 2.0**-53 for high, low in (words[:2], words[2:]))
            radius, theta = np.sqrt(-2 * np.log1p(-second)), 2 * np.pi * first
            values[index], self._kept = radius * np.cos(theta), float(radius * np.sin(theta))
        return values


def _box_muller(values: Array) -> None:
    """Turn uniform draws into normals, in place, in blocks of 16: the first 8 give radii, the last 8 angles."""
    # First brought into two rows: numpy takes four times as long for eight values at a time.
    halves = values.view(HALF_BLOCK).reshape(-1, 2).T
    rows = halves.copy().view(np.float32)
    radius, theta = rows
    np.subtract(np.float32(1), radius, out=radius)
    np.log(radius, out=radius)
    radius *= np.float32(-2)
    np.sqrt(radius, out=radius)
    theta *= np.float32(2 * np.pi)
    cosine = np.cos(theta)
    np.sin(theta, out=theta)
    theta *= radius
    radius *= cosine
    halves[:] = rows.view(HALF_BLOCK)
