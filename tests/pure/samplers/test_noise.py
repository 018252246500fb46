"""Noise equals torch's, on the CPU and on CUDA. The expected values of the CPU are torch 2.13's own.

Recipe: `g = torch.Generator().manual_seed(seed); torch.randn(shape, generator=g)` for each recorded shape in turn, and
`torch.rand(100, generator=g)` from a fresh generator; see tests/export/record_goldens.py.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline
from outpaint_engine.noise import NOISES, TorchCudaNoise, TorchNoise, noise_source, random_seed
from outpaint_engine.noise.philox import philox4x32

GOLDENS = np.load(Path(__file__).parents[2] / "goldens" / "noise.npz")
SEEDS = [int(name.removeprefix("seed")) for name in GOLDENS.files if name.startswith("seed")]
# Counter, key and answer of "philox4x32 10" in Random123's tests/kat_vectors.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
# `torch.manual_seed(0); torch.randn(3, 4, device="cuda")`, as AUTOMATIC1111's rng_philox.py states it.
CUDA_TO_EIGHT_DIGITS = [
    [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
    [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
    [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
]
# `torch.manual_seed(0); torch.randn(8, 8, device="cuda")` as torch printed it on a GPU, in the published notes of
# the CUDA MODE lecture on fused kernels ("lora_on_simple_mlp").
CUDA_AS_PRINTED = [
    [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284],
    [-1.0745, -0.3631, -1.6711, 2.2655, 0.3117, -0.1842, 1.2866, 1.1820],
    [-0.1271, 1.2169, 1.4353, 1.0605, -0.4941, -1.4244, -0.7244, -1.2973],
    [0.0697, -0.0074, 1.8969, 0.6878, -0.0779, -0.8373, 1.3506, -0.2879],
    [-0.5965, -0.3283, -0.9086, -0.8059, -0.7407, -0.0504, 0.5435, 1.5150],
    [0.0141, 0.4532, 1.6349, 0.7124, -0.1806, 1.0252, -1.4622, -0.7554],
    [-0.1836, 0.3824, 0.3918, -0.0830, 0.8971, -1.1123, 0.1116, 0.4863],
    [-0.5499, -0.3231, -0.5469, 0.9049, 0.2837, 0.1210, 0.4730, -1.0823],
]


@pytest.mark.parametrize("seed", SEEDS)
def test_several_draws_from_one_generator_equal_torchs(seed: int) -> None:
    noise = TorchNoise(seed)
    drawn = np.concatenate([noise.normal(tuple(shape[shape > 0])).ravel() for shape in GOLDENS["shapes"]])
    assert np.abs(drawn - GOLDENS[f"seed{seed}"]).max() <= 5e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_draws_are_torchs_to_the_bit(seed: int) -> None:
    expected = GOLDENS[f"uniform{seed}"]
    assert np.array_equal(TorchNoise(seed).uniform(len(expected)), expected)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: list[int], key: list[int], answer: list[int]) -> None:
    words = philox4x32(np.array(counter, np.uint32)[:, None], (key[0], key[1]))
    assert words[:, 0].tolist() == answer


@pytest.mark.parametrize(("published", "bound"), [(CUDA_TO_EIGHT_DIGITS, 1e-6), (CUDA_AS_PRINTED, 5.1e-5)])
def test_cuda_noise_equals_published_values(published: list[list[float]], bound: float) -> None:
    expected = np.array(published)
    assert np.abs(TorchCudaNoise(0).normal(expected.shape) - expected).max() <= bound


def test_the_upper_half_of_a_seed_is_the_second_word_of_philoxs_key() -> None:
    assert not np.array_equal(TorchCudaNoise(7).normal((16,)), TorchCudaNoise(7 + 2**40).normal((16,)))


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_source_draws_standard_normals_that_go_on_from_draw_to_draw(name: str, seed: int) -> None:
    source = noise_source(name, seed)
    first, second = source.normal((1, 4, 32, 32)), source.normal((1, 4, 32, 32))
    assert first.dtype == np.float32 and first.shape == (1, 4, 32, 32)
    # Four standard errors of the mean, of the variance and of the correlation of 4096 values.
    assert abs(first.mean()) < 0.063 and abs(first.var() - 1) < 0.089
    assert abs((first * second).mean()) < 0.063
    assert np.array_equal(noise_source(name, seed).normal((1, 4, 32, 32)), first)


def test_every_source_gives_a_run_its_own_latents_from_the_same_seed(
    toy: Callable[..., OutpaintPipeline], picture: np.ndarray
) -> None:
    wide = {"image": picture, "width": 128, "height": 64, "num_inference_steps": 2, "seed": 1}
    results = [toy()(**wide, noise=name) for name in NOISES]
    assert [result.noise for result in results] == list(NOISES)
    assert len({result.latents.tobytes() for result in results}) == len(NOISES)


def test_a_drawn_seed_is_a_legal_one() -> None:
    assert 0 <= random_seed() < 2**32
