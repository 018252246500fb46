"""Samplers as weights: applied to arrays, they give what the sampler gives."""

import numpy as np
import pytest

from outpaint_engine.samplers import linear_steps, scheduler_names, scheduler_of
from outpaint_engine.schedule import NoiseSchedule, Prediction, Time
from outpaint_engine.tensors import Array

from ...conftest import SD15_SCHEDULER

RANDOM = {"Euler a", "DPM2 a", "DDPM", "DPM++ 2M SDE", "LCM"}
"""They draw noise; TCD does only with eta."""
STEPS = 7
PLAIN = [name for name in scheduler_names() if not name.endswith(("Karras", "exponential", "beta"))]


def answered(x: Array, time: Time) -> Array:
    """A model that is not linear, so that weights for other arrays than those that came up would be seen."""
    return np.tanh(x) * np.float32(0.8) + np.float32(time.t / 5000)


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in RANDOM])
def test_weights_do_what_the_sampler_does(name: str) -> None:
    scheduler, settings = scheduler_of(name, SD15_SCHEDULER)
    walk = scheduler.plan(NoiseSchedule(settings), STEPS, 1.0)

    def denoise(x: Array, time: Time) -> Prediction:
        return walk.schedule.read(answered(x, time), x, time.level)

    first = walk.begin(np.random.default_rng(0).standard_normal((1, 4, 4, 4), np.float32))
    steps = linear_steps(scheduler.sample, walk)
    assert steps is not None
    vectors = [first]
    for step, expected in zip(steps, scheduler.sample(denoise, first, walk), strict=True):
        vectors.insert(0, answered(vectors[0], step.time))
        x, x0 = (
            sum(weight * vector for weight, vector in zip(weights, vectors, strict=False))
            for weights in (step.weights, step.x0)
        )
        np.testing.assert_allclose(x, expected.x, atol=1e-4 * np.abs(expected.x).max())
        np.testing.assert_allclose(x0, expected.x0, atol=1e-4 * np.abs(expected.x0).max())
        vectors.insert(0, expected.x)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_samplers_that_draw_noise_have_none(name: str) -> None:
    scheduler, settings = scheduler_of(name, SD15_SCHEDULER)
    assert linear_steps(scheduler.sample, scheduler.plan(NoiseSchedule(settings), STEPS, 1.0)) is None


@pytest.mark.parametrize("limit", [{"clip_sample": True}, {"thresholding": True}], ids=str)
def test_neither_have_those_that_limit_the_picture(limit: dict[str, bool]) -> None:
    scheduler, settings = scheduler_of("DDIM", SD15_SCHEDULER | limit)
    assert linear_steps(scheduler.sample, scheduler.plan(NoiseSchedule(settings), STEPS, 1.0)) is None
