"""Standard normals equal to torch's CPU generator, so that a seed here is the seed in diffusers.

torch draws from mt19937 seeded with the low 32 bits of the seed; floats take 24 bits of one word. Tensors of
16 values and more go through a Box-Muller in blocks of 16 (ATen, native/cpu/DistributionTemplates.h,
`normal_fill`); smaller ones through a double-precision Box-Muller that keeps its second value.
"""

import numpy as np

from ..tensors import Array

__all__ = ["TorchNoise"]

BLOCK = 16


class TorchNoise:
    """`TorchNoise(seed).normal(shape)` is `torch.randn(shape, generator=torch.Generator().manual_seed(seed))`.

    Uniform draws are bit-equal to torch's; normals differ by at most 5e-7 (torch's own logarithm and cosine
    differ by that between kinds of CPU).
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.RandomState(seed & 0xFFFFFFFF)._bit_generator
        self._kept: float | None = None

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw float32 standard normals of `shape`, in C order."""
        count = int(np.prod(shape))
        values = self._blocks(count) if count >= BLOCK else self._one_by_one(count)
        return values.reshape(shape)

    def _blocks(self, count: int) -> Array:
        values = self.uniform(count)
        whole = count // BLOCK * BLOCK
        values[:whole] = _box_muller(values[:whole])
        if whole < count:
            # The last block is drawn anew and overlaps its predecessor, as torch does.
            values[count - BLOCK :] = _box_muller(self.uniform(BLOCK))
        return values

    def uniform(self, count: int) -> Array:
        """Draw `count` float32 values in [0, 1), as `torch.rand` does."""
        # 32-bit integers become floats twice as fast as the 64-bit ones that numpy hands out.
        words = self._bits.random_raw(count).astype(np.uint32) & np.uint32(0xFFFFFF)
        return words.astype(np.float32) * np.float32(2**-24)

    def _one_by_one(self, count: int) -> Array:
        values = np.empty(count, np.float32)
        for index in range(count):
            if self._kept is not None:
                values[index], self._kept = self._kept, None
                continue
            words = [int(word) for word in self._bits.random_raw(4)]
            first, second = (((high << 32 | low) & (2**53 - 1)) * 2.0**-53 for high, low in (words[:2], words[2:]))
            radius, theta = np.sqrt(-2 * np.log1p(-second)), 2 * np.pi * first
            values[index], self._kept = radius * np.cos(theta), float(radius * np.sin(theta))
        return values


def _box_muller(uniform: Array) -> Array:
    """Box-Muller in blocks of 16: the first 8 values give radii, the last 8 angles."""
    blocks = uniform.reshape(-1, 2, BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - blocks[:, 0]))
    theta = np.float32(2 * np.pi) * blocks[:, 1]
    normals = np.empty_like(blocks)
    np.multiply(radius, np.cos(theta), out=normals[:, 0])
    np.multiply(radius, np.sin(theta), out=normals[:, 1])
    return normals.reshape(-1)
