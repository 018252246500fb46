"""Guidance, mask channels, the held region and the check for NaN."""

import numpy as np
import pytest

from outpaint_engine import NumericalError
from outpaint_engine.denoise import denoiser, guided, hold_known, with_mask_channels
from outpaint_engine.samplers.walks import strided_walk
from outpaint_engine.schedule import CLEAN, Level, NoiseSchedule

X = np.ones((1, 4, 2, 2), np.float32)
COND, UNCOND = np.full((1, 3, 2), 5, np.float32), np.full((1, 3, 2), 2, np.float32)


def test_guidance_costs_one_call_of_two_rows_and_goes_beyond_the_prompt() -> None:
    calls = []

    def predict(sample: np.ndarray, t: int, context: np.ndarray) -> np.ndarray:
        calls.append(sample.shape)
        return sample * context.mean(axis=(1, 2))[:, None, None, None]

    assert np.array_equal(guided(predict, COND, UNCOND, 3.0)(X, 1), X * (2 + 3 * (5 - 2)))
    assert calls == [(2, 4, 2, 2)]


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_guidance_of_one_and_less_is_one_row_without_the_negative_prompt(scale: float) -> None:
    calls = []

    def predict(sample: np.ndarray, t: int, context: np.ndarray) -> np.ndarray:
        calls.append((sample.shape, context.mean()))
        return sample

    guided(predict, COND, UNCOND, scale)(X, 1)
    assert calls == [((1, 4, 2, 2), 5)]


def test_nine_channels_are_latents_then_mask_then_masked_latents() -> None:
    seen = []
    mask, masked = np.full((1, 1, 2, 2), 7, np.float32), np.full((1, 4, 2, 2), 8, np.float32)
    predict = with_mask_channels(lambda sample, t, context: seen.append(sample) or sample, mask, masked)
    predict(np.concatenate([X, X]), 1, COND)
    assert seen[0].shape == (2, 9, 2, 2)
    assert seen[0][1, :, 0, 0].tolist() == [1, 1, 1, 1, 7, 8, 8, 8, 8]


def test_the_held_region_is_the_known_latents_at_the_current_noise() -> None:
    mask = np.array([0, 1], np.float32).reshape(1, 1, 1, 2)
    constrain = hold_known(3 * X, 0 * X, mask)
    assert constrain(X, CLEAN)[0, 0].tolist() == [[3, 1], [3, 1]]
    assert constrain(X, Level.of_alpha(0.25))[0, 0].tolist() == [[1.5, 1], [1.5, 1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_stops_the_run_and_names_the_step(bad: float) -> None:
    schedule = NoiseSchedule.from_config({})
    outputs = iter([X, X * bad])
    denoise = denoiser(lambda x, t: next(outputs), schedule)
    times = strided_walk(schedule, 2, 1.0).times
    denoise(X, times[0])
    with pytest.raises(NumericalError, match=r"UNet answered with NaN or infinity at step 2 \(timestep 1\)"):
        denoise(X, times[1])
