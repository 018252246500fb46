"""The loop that stays on the device, run on ONNX Runtime's CPU provider, beside the loop through arrays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintResult
from outpaint_engine.components import Models
from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engines import Loading, find_backend
from outpaint_engine.engines.timed import TimedEngine
from outpaint_engine.errors import EngineError, OutpaintError
from outpaint_engine.on_device import DeviceStep

from .bound_on_cpu import BoundOnCpu

GOLDENS = Path(__file__).parents[1] / "goldens"
PICTURE = np.random.default_rng(3).integers(0, 255, (32, 32, 3), np.uint8)
REQUEST: dict[str, Any] = {
    "image": PICTURE,
    "width": 64,
    "height": 64,
    "offset_x": 16,
    "offset_y": 16,
    "prompt": "a sea",
    "seed": 5,
    "num_inference_steps": 6,
    "guidance_scale": 5.0,
}
LINEAR = (
    "DDIM",
    "DPM Multi",
    "DPM Multi Karras",
    "DPM Single",
    "Euler",
    "Heun",
    "DPM2",
    "LMS",
    "PNDM",
    "UniPC",
    "DEIS",
)
"""Schedulers that run on the device; the others draw noise."""


def pipeline(channels: int, backend: Any) -> OutpaintPipeline:
    """The small set with its UNet on `backend`, the rest on the CPU."""
    engine_set = EngineSet.open(GOLDENS / f"tiny-{channels}")
    cpu = find_backend("ort-cpu")
    engines = {part: (backend if part == "unet" else cpu).load(Loading(engine_set, part)) for part in PARTS}
    return OutpaintPipeline(Models.of(engine_set, engines))


@pytest.fixture(scope="module")
def arrays() -> Iterator[OutpaintPipeline]:
    with pipeline(9, find_backend("ort-cpu")) as pipe:
        yield pipe


@pytest.fixture(scope="module")
def on_device() -> Iterator[OutpaintPipeline]:
    with pipeline(9, BoundOnCpu("recorded", graph=True)) as pipe:
        yield pipe


def ran(pipe: OutpaintPipeline, **options: Any) -> tuple[OutpaintResult, bool]:
    """The result, and whether steps were on the device."""
    run, found = pipe.steps(**{**REQUEST, **options}), False
    for progress in run:
        found = found or isinstance(progress.sampled, DeviceStep)
    return run.result, found


@pytest.mark.parametrize("scheduler", LINEAR)
def test_latents_equal_those_of_the_loop_through_arrays(
    arrays: OutpaintPipeline, on_device: OutpaintPipeline, scheduler: str
) -> None:
    (expected, no), (found, yes) = (ran(pipe, scheduler=scheduler) for pipe in (arrays, on_device))
    assert (no, yes) == (False, True)
    assert np.abs(found.latents - expected.latents).max() < 2e-5 * np.abs(expected.latents).max()


@pytest.mark.parametrize(
    "options",
    [{"guidance_scale": 1.0}, {"num_images": 2}, {"strength": 0.6}, {"num_inference_steps": 1}],
    ids=["no guidance", "two pictures", "strength", "one step"],
)
def test_they_do_with_other_options_too(
    arrays: OutpaintPipeline, on_device: OutpaintPipeline, options: dict[str, Any]
) -> None:
    expected, found = (ran(pipe, **options)[0] for pipe in (arrays, on_device))
    assert np.abs(found.latents - expected.latents).max() < 2e-5 * np.abs(expected.latents).max()
    assert found.timings.rows == expected.timings.rows
    assert len(found.timings.steps) == len(expected.timings.steps)


@pytest.mark.parametrize("options", [{}, {"scheduler": "Euler", "num_images": 2, "strength": 0.6}], ids=str)
def test_they_do_where_the_known_latents_are_put_back(options: dict[str, Any]) -> None:
    with pipeline(4, find_backend("ort-cpu")) as arrays, pipeline(4, BoundOnCpu("recorded", graph=True)) as on_device:
        (expected, no), (found, yes) = (ran(pipe, **options) for pipe in (arrays, on_device))
    assert (no, yes) == (False, True)
    assert np.abs(found.latents - expected.latents).max() < 2e-5 * np.abs(expected.latents).max()


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "Euler a"},
        {"scheduler": "DDIM", "eta": 0.5},
        {"guidance_rescale": 0.7},
        {"guidance_interval": (0.2, 0.8)},
        {"guidance_every": 2},
        {"wrap": "x"},
    ],
    ids=str,
)
def test_what_needs_arrays_between_calls_goes_through_arrays(
    on_device: OutpaintPipeline, options: dict[str, Any]
) -> None:
    assert not ran(on_device, **options)[1]


def test_pictures_one_after_the_other_share_places_and_nothing_else(on_device: OutpaintPipeline) -> None:
    first, other, again = (ran(on_device, seed=seed)[0] for seed in (1, 2, 1))
    assert np.array_equal(first.latents, again.latents)
    assert not np.array_equal(first.latents, other.latents)


def test_two_runs_at_one_time_do_not_meet(on_device: OutpaintPipeline) -> None:
    alone = [ran(on_device, seed=seed)[0].latents for seed in (1, 2)]
    runs = [on_device.steps(**REQUEST | {"seed": seed}) for seed in (1, 2)]
    for _ in zip(*runs, strict=False):
        pass
    for run in runs:
        list(run) if run._result is None else None
    assert all(np.array_equal(run.result.latents, expected) for run, expected in zip(runs, alone, strict=True))


def test_a_step_shows_what_it_would_show_through_arrays(arrays: OutpaintPipeline, on_device: OutpaintPipeline) -> None:
    shown = [[step.sampled.x0.copy() for step in pipe.steps(**REQUEST)] for pipe in (arrays, on_device)]
    for expected, found in zip(*shown, strict=True):
        assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()


def test_a_step_that_the_run_has_left_behind_cannot_be_looked_at(on_device: OutpaintPipeline) -> None:
    first, *_ = list(on_device.steps(**REQUEST))
    with pytest.raises(OutpaintError, match="run has gone on"):
        first.preview()
    next(iter(on_device.steps(**REQUEST)))
    with pytest.raises(OutpaintError, match="run has gone on"):
        first.preview()


def test_places_of_shapes_that_were_not_used_lately_are_given_back(on_device: OutpaintPipeline) -> None:
    for width in (64, 72, 80, 88):
        ran(on_device, width=width, num_inference_steps=3)
    calls = on_device.models.unet.engine.bound_calls()
    assert calls is not None and len(calls.kept) == 2


def test_a_run_that_is_cancelled_leaves_the_places_to_the_next(on_device: OutpaintPipeline) -> None:
    expected = ran(on_device)[0]
    for _ in on_device.steps(**REQUEST):
        break
    assert np.array_equal(ran(on_device)[0].latents, expected.latents)


def test_the_clock_of_a_benchmark_counts_steps_as_calls(on_device: OutpaintPipeline) -> None:
    unet = on_device.models.unet
    beneath, clock = unet.engine, TimedEngine(unet.engine)
    unet.engine = clock
    try:
        assert ran(on_device)[1]
    finally:
        unet.engine = beneath
    assert len(clock.seconds) == REQUEST["num_inference_steps"]


def test_without_recorded_graphs_the_loop_goes_through_arrays() -> None:
    with pipeline(9, BoundOnCpu("not recorded", graph=False)) as pipe:
        assert not ran(pipe)[1]


def test_a_run_whose_engine_is_closed_says_so() -> None:
    pipe = pipeline(9, BoundOnCpu("recorded", graph=True))
    run = iter(pipe.steps(**REQUEST))
    next(run)
    pipe.close()
    with pytest.raises(EngineError, match="--no-cuda-graph"):
        next(run)
