"""Every scheduler, against diffusers' trajectories on a toy model, and against its own definition."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineSetError
from outpaint_engine.denoise import denoiser, hold_known
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import SCHEDULERS, Scheduler, find_scheduler
from outpaint_engine.schedule import NoiseSchedule, Prediction, Time

from .toy_model import SHAPE, toy_mask, toy_output

GOLDENS = dict(np.load(Path(__file__).parents[1] / "goldens" / "trajectories.npz"))
NAMES = [scheduler.name for scheduler in SCHEDULERS]


@pytest.mark.parametrize("key", GOLDENS)
def test_every_step_equals_diffusers(key: str) -> None:
    name, kind, steps, strength, eta, masked = key.split("|")
    assert relative_error(name, kind, int(steps), float(strength), float(eta), masked == "masked") < 1e-4


def relative_error(name: str, kind: str, steps: int, strength: float, eta: float, masked: bool) -> float:
    """The largest, over the steps, of the largest difference over the largest value."""
    scheduler = find_scheduler(name)
    schedule = NoiseSchedule.from_config({"prediction_type": kind})
    walk = scheduler.plan(schedule, steps, strength)
    draw = TorchNoise(7)
    known, start = draw.normal(SHAPE), draw.normal(SHAPE)
    sample = partial(scheduler.sample, eta=eta) if eta else scheduler.sample
    options = {"constrain": hold_known(known, start, toy_mask())} if masked else {}
    run = sample(
        denoiser(toy_output, schedule),
        walk.begin(start, known if strength < 1 else None),
        walk,
        noise=lambda: draw.normal(SHAPE),
        **options,
    )
    found = np.stack([step.x[0, :, 0] for step in run])
    expected = GOLDENS[f"{name}|{kind}|{steps}|{strength}|{eta}|{'masked' if masked else 'free'}"]
    assert found.shape == expected.shape
    axes = (1, 2)
    return float((np.abs(found - expected).max(axes) / np.abs(expected).max(axes)).max())


def test_every_scheduler_is_compared_in_every_case() -> None:
    cases = {tuple(key.split("|")[1:4]) + (key.split("|")[5],) for key in GOLDENS}
    assert len(cases) == 2 * 3 * 3 * 2
    assert {key.split("|")[0] for key in GOLDENS} == set(NAMES)
    assert len(GOLDENS) == len(cases) * (len(NAMES) + 1)  # DDIM with eta 0 and 1


SEGMIND = ("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler", "Heun", "DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM")


@pytest.mark.parametrize("name", [*SEGMIND, "DDPM", "ddim", "euler_a", "dpm++ 2m karras", "HeunDiscreteScheduler"])
def test_a_scheduler_is_found_by_segminds_name_and_by_aliases(name: str) -> None:
    assert find_scheduler(name) is not None


def test_no_two_schedulers_share_a_name() -> None:
    names = [name for scheduler in SCHEDULERS for name in (scheduler.name, *scheduler.aliases)]
    assert [find_scheduler(name) for name in names] == [
        scheduler for scheduler in SCHEDULERS for _ in (scheduler.name, *scheduler.aliases)
    ]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=NAMES)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_scheduler_runs_on_every_schedule(scheduler: Scheduler, spacing: str, kind: str) -> None:
    config = {"prediction_type": kind, "timestep_spacing": spacing, "rescale_betas_zero_snr": kind == "v_prediction"}
    schedule = NoiseSchedule.from_config(config)
    for steps, strength in ((1, 1.0), (2, 1.0), (5, 0.5)):
        x = TorchNoise(0).normal(SHAPE)
        walk = scheduler.plan(schedule, steps, strength)
        taken = list(
            scheduler.sample(
                denoiser(toy_output, schedule), walk.begin(x, x), walk, noise=lambda: np.ones(SHAPE, np.float32)
            )
        )
        assert [step.number for step in taken] == list(range(len(walk.calls)))
        assert np.isfinite(taken[-1].x).all()


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=NAMES)
def test_a_model_that_knows_the_picture_is_led_to_it(scheduler: Scheduler) -> None:
    schedule = NoiseSchedule.from_config({"set_alpha_to_one": True})
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, *SHAPE)).astype(np.float32)

    def oracle(x: np.ndarray, time: Time) -> Prediction:
        return schedule.read((x - time.level.signal * x0) / time.level.noise, x, time.level)

    walk = scheduler.plan(schedule, 12, 1.0)
    *_, last = scheduler.sample(oracle, walk.begin(eps), walk, noise=lambda: eps)
    assert np.abs(last.x - x0).max() < 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name != "DPM2 a Karras"])  # needs 25 steps
def test_four_steps_from_pure_noise_add_nothing_that_the_pictures_do_not_hold(name: str) -> None:
    config = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    schedule, scheduler, draw = NoiseSchedule.from_config(config), find_scheduler(name), TorchNoise(0)
    mean, deviation, shape = 1.0, 0.5, (1, 4, 32, 32)

    def every_picture(x: np.ndarray, time: Time) -> Prediction:
        """The best prediction where latents are normal and independent."""
        signal, sigma = time.level.signal / time.level.scale, time.level.noise / time.level.scale
        x_t = x / time.level.scale
        share = signal * deviation**2 / (signal**2 * deviation**2 + sigma**2)
        x0 = mean + share * (x_t - signal * mean)
        return schedule.read(((signal * x_t - x0) / sigma).astype(np.float32), x, time.level)

    walk = scheduler.plan(schedule, 4, 1.0)
    *_, last = scheduler.sample(every_picture, walk.begin(draw.normal(shape)), walk, noise=lambda: draw.normal(shape))
    assert abs(last.x.mean() - mean) < 0.15
    assert last.x.std() < 1.1 * deviation


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=NAMES)
def test_a_sampler_that_is_left_after_one_step_has_called_the_model_once(scheduler: Scheduler) -> None:
    calls = []

    def counting(x: np.ndarray, time: Time) -> Prediction:
        calls.append(time)
        return Prediction(x, x, x)

    walk = scheduler.plan(NoiseSchedule.from_config({}), 5, 1.0)
    zeros = np.zeros(SHAPE, np.float32)
    next(iter(scheduler.sample(counting, zeros, walk, noise=lambda: zeros)))
    assert len(calls) == 1


def test_a_sampler_that_draws_noise_asks_for_its_source() -> None:
    schedule = NoiseSchedule.from_config({})
    scheduler = find_scheduler("Euler a")
    walk = scheduler.plan(schedule, 5, 1.0)
    with pytest.raises(ValueError, match="give it `noise`"):
        next(scheduler.sample(denoiser(toy_output, schedule), np.zeros(SHAPE, np.float32), walk))


@pytest.mark.parametrize("name", ["DPM Multi", "DPM Single", "LMS"])
def test_steps_that_would_be_at_the_same_noise_are_refused(name: str) -> None:
    with pytest.raises(EngineSetError, match="1000 steps are too many for this scheduler"):
        find_scheduler(name).plan(NoiseSchedule.from_config({}), 1000, 1.0)


def test_more_steps_than_lcm_was_distilled_to_are_refused() -> None:
    with pytest.raises(EngineSetError, match="50 timesteps; 51 steps"):
        find_scheduler("LCM").plan(NoiseSchedule.from_config({}), 51, 1.0)
