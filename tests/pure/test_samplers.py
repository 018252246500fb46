"""DDIM, against diffusers' trajectory on a toy model, and against its own definition."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.denoise import denoiser, hold_known
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import ddim
from outpaint_engine.schedule import NoiseSchedule, Prediction, Time

from .toy_model import SHAPE, toy_mask, toy_output

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "ddim.npz")


@pytest.mark.parametrize("name", GOLDENS.files)
def test_every_step_equals_diffusers(name: str) -> None:
    kind, steps, strength, eta, masked = name.split("|")
    schedule = NoiseSchedule.from_config({"prediction_type": kind})
    noise = TorchNoise(7)
    known, start = noise.normal(SHAPE), noise.normal(SHAPE)
    times = schedule.times(int(steps), float(strength))
    x = start if float(strength) == 1 else schedule.add_noise(known, start, times[0].alpha)
    options = {"constrain": hold_known(schedule, known, start, toy_mask())} if masked == "masked" else {}
    run = ddim(denoiser(toy_output, schedule), x, times, eta=float(eta), noise=lambda: noise.normal(SHAPE), **options)
    trajectory = np.stack([step.x for step in run])
    expected = GOLDENS[name]
    assert np.abs(trajectory - expected).max() / np.abs(expected).max() < 1e-4


def test_a_model_that_knows_the_picture_is_led_to_it_in_one_step() -> None:
    schedule = NoiseSchedule.from_config({"set_alpha_to_one": True})
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, *SHAPE)).astype(np.float32)

    def oracle(x: np.ndarray, time: Time) -> Prediction:
        return Prediction(eps, x0)

    *_, last = ddim(oracle, eps, schedule.times(1))
    assert np.abs(last.x - x0).max() < 1e-6


def test_a_sampler_that_is_not_iterated_calls_no_model() -> None:
    def never(x: np.ndarray, time: Time) -> Prediction:
        raise AssertionError

    ddim(never, np.zeros(SHAPE, np.float32), NoiseSchedule.from_config({}).times(5))
