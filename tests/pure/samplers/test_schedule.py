"""The noise schedule that follows from Stable Diffusion 1.5's scheduler config."""

import numpy as np
import pytest

from outpaint_engine.samplers import find_scheduler
from outpaint_engine.samplers.walks import strided_walk
from outpaint_engine.schedule import NoiseSchedule

from ...parity_cases import SD15


def schedule_of(**changes: object) -> NoiseSchedule:
    return find_scheduler("DDIM").schedule({**SD15, **changes})


# DDIMScheduler.from_config(SD1.5).set_timesteps(n); timesteps[0]
FIRST_TIMESTEPS = {10: 901, 25: 961, 30: 958, 40: 976, 50: 981, 60: 945, 64: 946, 75: 963, 80: 949, 100: 991}


@pytest.mark.parametrize(("steps", "first"), FIRST_TIMESTEPS.items())
def test_leading_spacing_starts_where_sd15_does(steps: int, first: int) -> None:
    assert schedule_of().timesteps(steps)[0] == first


def test_the_alphas_are_sd15s() -> None:
    schedule = schedule_of()
    assert schedule.final_alpha == pytest.approx(0.99915, abs=1e-6)
    assert schedule.alphas_cumprod[-1] == pytest.approx(0.0046596, abs=1e-6)


SPACINGS = [
    ("leading", [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]),
    ("trailing", [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
    ("linspace", [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
]


@pytest.mark.parametrize(("spacing", "times"), SPACINGS)
def test_each_spacing_visits_its_timesteps(spacing: str, times: list[int]) -> None:
    schedule = schedule_of(timestep_spacing=spacing)
    assert schedule.timesteps(10).tolist() == times


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_every_number_of_steps_is_that_many_timesteps_of_the_model(spacing: str) -> None:
    schedule = schedule_of(timestep_spacing=spacing)
    for steps in range(1, 1001):
        times = schedule.timesteps(steps)
        assert len(times) == steps and min(times) >= 0 and max(times) < 1000


STRENGTHS = [(25, 1.0, 25), (25, 0.1, 2), (25, 0.5, 12), (25, 0.99, 24), (25, 0.01, 1), (1, 0.3, 1)]


@pytest.mark.parametrize(("steps", "strength", "run"), STRENGTHS)
def test_strength_runs_the_last_part_of_the_steps_and_at_least_one(steps: int, strength: float, run: int) -> None:
    schedule = schedule_of()
    walk = strided_walk(schedule, steps, strength)
    assert len(walk.calls) == run
    assert walk.times[-1].next == schedule.level(-1)


def test_zero_terminal_snr_ends_in_pure_noise() -> None:
    schedule = schedule_of(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert schedule.alphas_cumprod[-1] == 0
    assert schedule.alphas_cumprod[0] == pytest.approx(schedule_of().alphas_cumprod[0])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_prediction_is_read_as_the_noise_and_the_picture_that_made_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    x0, noise = rng.standard_normal((2, 1, 4, 8, 8)).astype(np.float32)
    schedule = schedule_of(prediction_type=kind)
    level = schedule.level(500)
    output = {"epsilon": noise, "sample": x0, "v_prediction": level.signal * noise - level.noise * x0}[kind]
    read = schedule.read(output.astype(np.float32), level.mix(x0, noise), level)
    assert np.abs(read.noise - noise).max() < 1e-5
    assert np.abs(read.x0 - x0).max() < 1e-5
