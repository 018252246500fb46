"""Guidance, mask channels, the held region and the check for NaN."""

import numpy as np
import pytest

from outpaint_engine import NumericalError
from outpaint_engine.denoise import Guidance, denoiser, guided, guided_calls, hold_known, with_mask_channels
from outpaint_engine.samplers import find_scheduler
from outpaint_engine.samplers.walks import strided_walk
from outpaint_engine.schedule import CLEAN, Level

from ...parity_cases import SD15

X = np.ones((1, 4, 2, 2), np.float32)
RESCALED = [-7.772109, 1.752132, -0.68567, 3.090874]
COND, UNCOND = np.full((1, 3, 2), 5, np.float32), np.full((1, 3, 2), 2, np.float32)


def test_guidance_costs_one_call_of_two_rows_and_goes_beyond_the_prompt() -> None:
    calls = []

    def predict(sample: np.ndarray, t: int, context: np.ndarray) -> np.ndarray:
        calls.append(sample.shape)
        return sample * context.mean(axis=(1, 2))[:, None, None, None]

    assert np.array_equal(guided(predict, COND, UNCOND, Guidance(3.0, range(1)))(X, 1), X * (2 + 3 * (5 - 2)))
    assert calls == [(2, 4, 2, 2)]


def test_only_calls_that_are_guided_cost_two_rows_and_see_the_negative_prompt() -> None:
    seen = []

    def predict(sample: np.ndarray, t: int, context: np.ndarray) -> np.ndarray:
        seen.append(context.mean(axis=(1, 2)).tolist())
        return sample

    predict_guided = guided(predict, COND, UNCOND, Guidance(3.0, range(1, 2)))
    for _ in range(3):
        predict_guided(X, 1)
    assert seen == [[5], [2, 5], [5]]


def test_several_pictures_share_a_guided_call_without_mixing() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 2, 2), np.float32)

    def predict(sample: np.ndarray, t: int, context: np.ndarray) -> np.ndarray:
        return np.sin(sample * context.mean(axis=(1, 2))[:, None, None, None])

    guidance = Guidance(3.0, range(1), rescale=0.7)
    alone = [guided(predict, COND, UNCOND, guidance)(row[None], 1) for row in x]
    assert np.array_equal(guided(predict, COND, UNCOND, guidance)(x, 1), np.concatenate(alone))


@pytest.mark.parametrize(
    ("interval", "calls", "calls_per_step", "inside"),
    [
        ((0.0, 1.0), 10, 1, range(10)),
        ((0.2, 0.8), 10, 1, range(2, 8)),
        ((0.25, 0.75), 10, 1, range(2, 7)),
        ((0.5, 0.5), 10, 1, range(5, 5)),
        ((0.0, 1.0), 1, 1, range(1)),
        # Heun: 5 steps are 9 calls, the last step has one.
        ((0.0, 1.0), 9, 2, range(9)),
        ((0.2, 0.8), 9, 2, range(2, 8)),
    ],
)
def test_steps_inside_the_interval_are_counted_as_diffusers_counts_them(
    interval: tuple[float, float], calls: int, calls_per_step: int, inside: range
) -> None:
    assert guided_calls(interval, calls, calls_per_step) == inside


def test_rescaled_guidance_is_diffusers() -> None:
    rng = np.random.default_rng(3)
    without, with_prompt = rng.standard_normal((2, 1, 4, 2, 2), np.float32)
    both = np.concatenate([without, with_prompt])
    rescaled = guided(lambda *_: both, COND, UNCOND, Guidance(7.5, range(1), rescale=0.7))(X, 1)
    # diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion.rescale_noise_cfg on the same numbers
    assert rescaled[0, :, 0, 0] == pytest.approx(RESCALED, rel=1e-5)


def test_nine_channels_are_latents_then_mask_then_masked_latents() -> None:
    seen = []
    mask, masked = np.full((1, 1, 2, 2), 7, np.float32), np.full((2, 4, 2, 2), 8, np.float32)
    masked[1] = 9
    predict = with_mask_channels(lambda sample, t, context: seen.append(sample) or sample, mask, masked)
    predict(np.concatenate([X, 2 * X, 3 * X, 4 * X]), 1, COND)
    assert seen[0].shape == (4, 9, 2, 2)
    assert seen[0][2, :, 0, 0].tolist() == [3, 3, 3, 3, 7, 8, 8, 8, 8]
    assert seen[0][3, :, 0, 0].tolist() == [4, 4, 4, 4, 7, 9, 9, 9, 9]


def test_the_held_region_is_the_known_latents_at_the_current_noise() -> None:
    mask = np.array([0, 1], np.float32).reshape(1, 1, 1, 2)
    constrain = hold_known(3 * X, 0 * X, mask)
    assert constrain(X, CLEAN)[0, 0].tolist() == [[3, 1], [3, 1]]
    assert constrain(X, Level.of_alpha(0.25))[0, 0].tolist() == [[1.5, 1], [1.5, 1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_stops_the_run_and_names_the_step(bad: float) -> None:
    schedule = find_scheduler("DDIM").schedule(SD15)
    outputs = iter([X, X * bad])
    denoise = denoiser(lambda x, t: next(outputs), schedule)
    times = strided_walk(schedule, 2, 1.0).times
    denoise(X, times[0])
    with pytest.raises(NumericalError, match=r"UNet answered with NaN or infinity at step 2 \(timestep 1\)"):
        denoise(X, times[1])
