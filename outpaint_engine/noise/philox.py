"""Standard normals as torch's CUDA generator draws them: Philox 4x32-10, one counter a value, and Box-Muller.

Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Layout of the counters: ATen,
native/cuda/DistributionTemplates.h, `distribution_elementwise_grid_stride_kernel`; normals: cuRAND's
`curand_normal4`, of whose four values a thread that writes one uses the first.
"""

import numpy as np

from ..tensors import Array

__all__ = ["TorchCudaNoise", "philox4x32"]

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
LOW_WORD = 0xFFFFFFFF
TO_UNIT = np.float32(2**-32)
TO_TURN = np.float32(2**-32 * 2 * np.pi)


class TorchCudaNoise:
    """`TorchCudaNoise(seed).normal(shape)` is `torch.randn(shape, generator=Generator("cuda").manual_seed(seed))`.

    Equal for draws of at most as many values as the GPU holds threads (multiprocessors times threads each: 40,960
    on a T4, 196,608 on an RTX 4090, 221,184 on an A100; 4 x 64 x 64 latents are 16,384 values). Beyond that torch
    gives several values to one thread, so that what is drawn depends on the GPU; this source goes on with one
    value a counter, on every machine alike. The bits are torch's; the normals differ where cuRAND takes the GPU's
    fast sine (about 1e-6).
    """

    def __init__(self, seed: int) -> None:
        self._key = seed & LOW_WORD, seed >> 32 & LOW_WORD
        self._draws = 0

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw float32 standard normals of `shape`, in C order."""
        count = int(np.prod(shape))
        # cuRAND's state: the offset in words 0 and 1, of which a draw takes one step, and the thread in 2 and 3.
        counter = np.zeros((4, count), np.uint32)
        counter[0], counter[1], counter[2] = self._draws & LOW_WORD, self._draws >> 32, np.arange(count)
        self._draws += 1
        return _box_muller(*philox4x32(counter, self._key)[:2]).reshape(shape)


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Ten rounds over uint32 counters (4, n) with one key of two 32-bit words; uint32 (4, n)."""
    x0, x1, x2, x3 = counter.astype(np.uint64)
    k0, k1 = key
    for _ in range(ROUNDS):
        left, right = x0 * np.uint64(MULTIPLIERS[0]), x2 * np.uint64(MULTIPLIERS[1])
        x0, x2 = _high(right) ^ x1 ^ np.uint64(k0), _high(left) ^ x3 ^ np.uint64(k1)
        x1, x3 = right & np.uint64(LOW_WORD), left & np.uint64(LOW_WORD)
        k0, k1 = k0 + KEY_STEPS[0] & LOW_WORD, k1 + KEY_STEPS[1] & LOW_WORD
    return np.stack([x0, x1, x2, x3]).astype(np.uint32)


def _high(product: Array) -> Array:
    return product >> np.uint64(32)


def _box_muller(first: Array, second: Array) -> Array:
    """The sine branch of `_curand_box_muller`; float32 of uint32 words."""
    unit = first.astype(np.float32) * TO_UNIT + TO_UNIT / 2
    # A GPU multiplies and adds with one rounding; so does float64 that is rounded at the end.
    angle = (second.astype(np.float32).astype(np.float64) * TO_TURN + TO_TURN / 2).astype(np.float32)
    return np.sqrt(np.float32(-2) * np.log(unit)) * np.sin(angle)
