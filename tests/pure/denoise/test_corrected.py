"""Forecast steps that are taken again when the next whole call says what lay at their end."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline
from outpaint_engine.denoise import Reuse, corrected, denoiser, forecast
from outpaint_engine.samplers import Walk, find_scheduler, scheduler_of
from outpaint_engine.schedule import NoiseSchedule

from ...parity_cases import SD15

STEPS, WHOLE = 10, frozenset({0, 3, 6, 9})
X = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32)


@pytest.fixture(params=["epsilon", "v_prediction", "sample"])
def walk(request: pytest.FixtureRequest) -> Walk:
    scheduler, settings = scheduler_of("DDIM", {**SD15, "prediction_type": request.param})
    return scheduler.plan(NoiseSchedule(settings), STEPS, 1.0)


def sampled(
    walk: Walk, output: Callable[[np.ndarray, float], np.ndarray], until: int | None = None
) -> list[np.ndarray]:
    """x after each call of DDIM; with `until`, outputs between whole calls are forecast and corrected before it."""
    if until is None:
        denoise = denoiser(output, walk.schedule)
    else:
        line = forecast(lambda x, t, _: output(x, t), WHOLE)
        denoise = corrected(denoiser(lambda x, t: line(x, t, X), walk.schedule), walk.schedule, WHOLE, until)
    return [step.x for step in find_scheduler("DDIM").sample(denoise, X, walk)]


def test_after_a_whole_call_x_is_where_interpolated_outputs_lead(walk: Walk) -> None:
    whole = sorted(walk.times[call].t for call in WHOLE)

    def bent(t: float) -> float:
        return np.sin(t / 200)

    def interpolated(x: np.ndarray, t: float) -> np.ndarray:
        return np.full_like(x, np.interp(t, whole, [bent(each) for each in whole]))

    found = sampled(walk, lambda x, t: np.full_like(x, bent(t)), until=STEPS)
    expected = sampled(walk, interpolated)
    for call in WHOLE:
        assert found[call] == pytest.approx(expected[call], abs=2e-5)
    assert found[5] != pytest.approx(expected[5], abs=1e-3)


def test_a_forecast_that_was_right_is_left_alone(walk: Walk) -> None:
    def line(x: np.ndarray, t: float) -> np.ndarray:
        return np.full_like(x, t / 500)

    # Before the second whole call there is no line yet.
    right, told = sampled(walk, line, until=1), sampled(walk, line, until=STEPS)
    moved = [np.abs(a - b).max() for a, b in zip(right, told, strict=True)]
    assert moved[2] == 0 and moved[3] > 1e-3
    assert sampled(walk, line)[-1] == pytest.approx(told[-1], abs=2e-5)


def test_from_the_last_call_to_correct_on_nothing_is(walk: Walk) -> None:
    def bent(x: np.ndarray, t: float) -> np.ndarray:
        return np.tanh(x) * np.float32(t / 1000)

    never, once = sampled(walk, bent, until=0), sampled(walk, bent, until=4)
    assert all(np.array_equal(never[call], once[call]) for call in range(3))
    assert not np.array_equal(never[3], once[3])


def test_only_samplers_that_make_x_of_a_prediction_correct(
    toy: Callable[..., OutpaintPipeline], picture: np.ndarray
) -> None:
    fields: dict[str, Any] = {"width": 128, "height": 64, "offset_x": 32, "offset_y": 8, "seed": 1}
    fields |= {"num_inference_steps": 12, "guidance_scale": 2.5}
    runs = {
        (name, reuse): toy()(image=picture, **fields, scheduler=name, reuse=reuse).latents
        for name in ("DDIM", "Euler")
        for reuse in ("off", "fast")
    }
    lost = {name: np.abs(runs[name, "fast"] - runs[name, "off"]).mean() for name in ("DDIM", "Euler")}
    assert 0 < lost["DDIM"] < 0.9 * lost["Euler"]


@pytest.mark.parametrize(
    ("reuse", "scheduler", "guidance_scale", "until"),
    [
        (Reuse(3), "DDIM", 2.5, 24),
        (Reuse(3), "DDIM", 7.5, 13),
        (Reuse(2), "DDIM", 2.5, 24),
        (Reuse(2), "DDIM", 7.5, 0),
        (Reuse(3), "Euler", 2.5, 0),
        (Reuse(3, method="shallow"), "DDIM", 2.5, 0),
        (Reuse(), "DDIM", 2.5, 0),
    ],
)
def test_the_last_call_and_more_under_strong_guidance_are_left_as_they_are(
    reuse: Reuse, scheduler: str, guidance_scale: float, until: int
) -> None:
    assert reuse.corrected_until(25, find_scheduler(scheduler), guidance_scale) == until
