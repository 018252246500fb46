"""Noise equals torch's CPU generator. The expected values are torch 2.13's own.

Recipe: `g = torch.Generator().manual_seed(seed); torch.randn(shape, generator=g)`; see
tests/export/record_goldens.py.
"""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.noise import TorchNoise, random_seed

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "noise.npz")


@pytest.mark.parametrize("name", [name for name in GOLDENS.files if name.startswith("seed")])
def test_several_draws_from_one_generator_equal_torchs(name: str) -> None:
    noise = TorchNoise(int(name.removeprefix("seed")))
    drawn = np.concatenate([noise.normal(tuple(shape[shape > 0])).ravel() for shape in GOLDENS["shapes"]])
    assert np.abs(drawn - GOLDENS[name]).max() <= 5e-7


def test_a_drawn_seed_is_a_legal_one() -> None:
    assert 0 <= random_seed() < 2**32
