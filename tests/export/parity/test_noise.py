"""Noise beside torch's own generator, live, at the sizes of real latents."""

import numpy as np
import pytest
import torch

from outpaint_engine.noise import TorchNoise

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40 + 7, 2**63 - 1])


@SEEDS
def test_three_draws_of_latents_equal_torchs(seed: int) -> None:
    noise, generator = TorchNoise(seed), torch.Generator().manual_seed(seed)
    for shape in ((1, 4, 64, 64), (1, 4, 33, 31), (1, 4, 96, 128)):
        expected = torch.randn(shape, generator=generator).numpy()
        assert np.abs(noise.normal(shape) - expected).max() <= 5e-7


@SEEDS
def test_uniform_draws_are_torchs_to_the_bit(seed: int) -> None:
    expected = torch.rand(16384, generator=torch.Generator().manual_seed(seed)).numpy()
    assert np.array_equal(TorchNoise(seed).uniform(16384), expected)
