"""Every scheduler, against diffusers' trajectories on a toy model, and against its own definition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineSetError
from outpaint_engine.denoise import denoiser
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import SCHEDULERS, SPREADS, Scheduler, find_scheduler
from outpaint_engine.schedule import KINDS, Prediction, Time

from ...latent_steps import estimated_error
from ...parity_cases import CONFIGS, SD15, config_cases
from ...parity_cases import SCHEDULERS as RECORDED
from ..toy_model import SHAPE, relative_error, toy_output, toy_trajectory

FOLDER = Path(__file__).parents[2] / "goldens"
GOLDENS = dict(np.load(FOLDER / "trajectories.npz"))
NAMES = [scheduler.name for scheduler in SCHEDULERS]


@pytest.mark.parametrize("key", GOLDENS)
def test_every_step_equals_diffusers(key: str) -> None:
    name, kind, steps, strength, eta, masked = key.split("|")
    config = {**SD15, "prediction_type": kind}
    found = toy_trajectory(name, config, int(steps), float(strength), float(eta), masked == "masked")
    assert relative_error(found, GOLDENS[key]) < 1e-4


def test_every_scheduler_is_compared_in_every_case() -> None:
    cases = {tuple(key.split("|")[1:4]) + (key.split("|")[5],) for key in GOLDENS}
    assert len(cases) == 2 * 3 * 3 * 2
    assert {key.split("|")[0] for key in GOLDENS} == set(RECORDED)
    assert len(GOLDENS) == len(cases) * (len(RECORDED) + 1)  # DDIM with eta 0 and 1


def recorded_configs() -> dict[tuple[str, str, int], np.ndarray]:
    with np.load(FOLDER / "configs.npz") as stored:
        ends = np.cumsum(stored["calls"])[:-1]
        return dict(zip(config_cases(), np.split(stored["sums"], ends), strict=True))


CONFIG_SUMS = recorded_configs()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", [*RECORDED, "DEIS", "TCD", "auto"])
def test_every_step_over_every_public_config_equals_diffusers(config: str, name: str) -> None:
    for steps in (10, 25):
        found = toy_trajectory(name, CONFIGS[config], steps)
        assert estimated_error(found, CONFIG_SUMS[config, name, steps]) < 1e-4


KNOW_ZERO_SNR = [each.name for each in SCHEDULERS if "rescale_betas_zero_snr" in KINDS[each.kind].keys]
SEGMIND = ("DDIM", "DPM Multi", "DPM Single", "Euler a", "Euler", "Heun", "DPM2 a Karras", "DPM2 Karras", "LMS", "PNDM")


@pytest.mark.parametrize("name", [*SEGMIND, "DDPM", "ddim", "euler_a", "dpm++ 2m karras", "HeunDiscreteScheduler"])
def test_a_scheduler_is_found_by_segminds_name_and_by_aliases(name: str) -> None:
    assert find_scheduler(name) is not None


def test_no_two_schedulers_share_a_name() -> None:
    names = [name for scheduler in SCHEDULERS for name in (scheduler.name, *scheduler.aliases)]
    assert [find_scheduler(name) for name in names] == [
        scheduler for scheduler in SCHEDULERS for _ in (scheduler.name, *scheduler.aliases)
    ]


@pytest.mark.parametrize("word", SPREADS)
def test_a_word_behind_a_name_spreads_the_sigmas(word: str) -> None:
    assert find_scheduler(f"euler_{word}").schedule(SD15).settings == replace(
        find_scheduler("Euler").schedule(SD15).settings, **{SPREADS[word]: True}
    )
    assert find_scheduler(f"DDIM {word}") is None


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=NAMES)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_scheduler_runs_on_every_schedule(scheduler: Scheduler, spacing: str, kind: str) -> None:
    changes = {"prediction_type": kind, "timestep_spacing": spacing, "rescale_betas_zero_snr": kind == "v_prediction"}
    schedule = scheduler.schedule({**SD15, **changes})
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


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("DEIS", "TCD")])  # end with some noise
def test_a_model_that_knows_the_picture_is_led_to_it(name: str) -> None:
    scheduler = find_scheduler(name)
    schedule = scheduler.schedule({**SD15, "set_alpha_to_one": True})
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, *SHAPE)).astype(np.float32)

    def oracle(x: np.ndarray, time: Time) -> Prediction:
        return schedule.read((x - time.level.signal * x0) / time.level.noise, x, time.level)

    walk = scheduler.plan(schedule, 12, 1.0)
    *_, last = scheduler.sample(oracle, walk.begin(eps), walk, noise=lambda: eps)
    assert np.abs(last.x - x0).max() < 1e-4


@pytest.mark.parametrize("name", KNOW_ZERO_SNR)
def test_four_steps_from_pure_noise_add_nothing_that_the_pictures_do_not_hold(name: str) -> None:
    scheduler, draw = find_scheduler(name), TorchNoise(0)
    schedule = scheduler.schedule(CONFIGS["sd21-ddim-v-zero-snr"])
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

    walk = scheduler.plan(scheduler.schedule(SD15), 5, 1.0)
    zeros = np.zeros(SHAPE, np.float32)
    next(iter(scheduler.sample(counting, zeros, walk, noise=lambda: zeros)))
    assert len(calls) == 1


def test_a_sampler_that_draws_noise_asks_for_its_source() -> None:
    scheduler = find_scheduler("Euler a")
    schedule = scheduler.schedule(SD15)
    walk = scheduler.plan(schedule, 5, 1.0)
    with pytest.raises(ValueError, match="give it `noise`"):
        next(scheduler.sample(denoiser(toy_output, schedule), np.zeros(SHAPE, np.float32), walk))


@pytest.mark.parametrize("name", ["DPM Single", "DEIS"])
def test_steps_that_would_be_at_the_same_noise_are_refused(name: str) -> None:
    with pytest.raises(EngineSetError, match="1000 steps are too many for this scheduler"):
        find_scheduler(name).plan(find_scheduler(name).schedule(SD15), 1000, 1.0)


def test_more_steps_than_lcm_was_distilled_to_are_refused() -> None:
    with pytest.raises(EngineSetError, match=r"50 timesteps \(original_inference_steps\); 51 were"):
        find_scheduler("LCM").plan(find_scheduler("LCM").schedule(SD15), 51, 1.0)
