"""The whole pipeline on a model of a few lines of numpy: geometry, seeds, cancelling, guarantees."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import (
    EngineSetError,
    NumericalError,
    OutpaintError,
    OutpaintPipeline,
    OutpaintRequest,
    RequestError,
)
from outpaint_engine.run import pictures_per_call

from ..conftest import toy_unet

Toy = Callable[..., OutpaintPipeline]
WIDE: dict[str, Any] = {"width": 128, "height": 64, "offset_x": 32, "offset_y": 8, "num_inference_steps": 4, "seed": 1}


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("mask_expand", [0, 8])
def test_known_pixels_outside_the_band_come_back_byte_for_byte(
    toy: Toy, picture: np.ndarray, channels: int, strength: float, mask_expand: int
) -> None:
    result = toy(channels)(image=picture, **WIDE, strength=strength, mask_expand=mask_expand)
    out = np.asarray(result.images[0])
    assert out.shape == (64, 128, 3)
    kept = slice(mask_expand, 48 - mask_expand), slice(mask_expand, 64 - mask_expand)
    assert np.array_equal(out[8:56, 32:96][kept], picture[kept])
    assert result.quality[0].changed_pixels == 0
    assert result.quality[0].kept_pixels == (48 - 2 * mask_expand) * (64 - 2 * mask_expand)


@pytest.mark.parametrize("channels", [4, 9])
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(
    toy: Toy, picture: np.ndarray, channels: int
) -> None:
    pipe = toy(channels)
    first, again = (pipe(image=picture, **WIDE).latents for _ in range(2))
    other = pipe(image=picture, **{**WIDE, "seed": 2}).latents
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_drawn_seed_is_in_the_result_and_gives_the_picture_again(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy()
    drawn = pipe(image=picture, **{**WIDE, "seed": -1})
    assert np.array_equal(pipe(image=picture, **{**WIDE, "seed": drawn.seed}).latents, drawn.latents)


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("scheduler", ["DDIM", "Euler a", "DPM++ 2M SDE"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_several_images_have_seeds_that_count_up_and_equal_single_runs(
    toy: Toy, picture: np.ndarray, channels: int, scheduler: str, strength: float
) -> None:
    pipe = toy(channels)
    fields = {**WIDE, "scheduler": scheduler, "strength": strength, "infill": "noise", "guidance_rescale": 0.5}
    several = pipe(image=picture, **fields, num_images=3)
    assert several.seeds == [1, 2, 3]
    for index, seed in enumerate(several.seeds):
        single = pipe(image=picture, **{**fields, "seed": seed})
        assert np.array_equal(several.latents[index], single.latents[0])
        assert np.array_equal(np.asarray(several.images[index]), np.asarray(single.images[0]))
        assert several.quality[index] == single.quality[0]


def test_images_share_unet_calls_in_slices_of_the_largest_batch(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy()
    pipe.max_batch = 2
    run = pipe.steps(OutpaintRequest(image=picture, **WIDE, num_images=3))
    seen = [(progress.step, progress.steps, list(progress.pictures)) for progress in run]
    assert seen == [(step, 8, [0, 1] if step <= 4 else [2]) for step in range(1, 9)]
    assert run.result.timings.rows == [4, 4, 4, 4, 2, 2, 2, 2]
    assert len(run.result.timings.steps) == 8


@pytest.mark.parametrize(
    ("size", "most", "pictures"),
    [((256, 256), None, 4), ((512, 512), None, 2), ((768, 512), None, 1), ((4096, 4096), None, 1), ((512, 512), 5, 5)],
)
def test_the_canvas_decides_how_many_pictures_share_a_call_unless_told(
    size: tuple[int, int], most: int | None, pictures: int
) -> None:
    assert pictures_per_call(*size, most) == pictures


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, [2, 2, 2, 2]),
        ({"guidance_scale": 1.0}, [1, 1, 1, 1]),
        ({"guidance_interval": (0.25, 0.75)}, [1, 2, 2, 1]),
        ({"guidance_interval": (0.0, 0.0)}, [1, 1, 1, 1]),
        # The fractions are of the steps that are run.
        ({"guidance_interval": (0.5, 1.0), "strength": 0.5}, [1, 2]),
        ({"guidance_interval": (0.25, 0.75), "scheduler": "Heun"}, [1, 1, 2, 2, 2, 2, 1]),
    ],
)
def test_the_unet_is_given_a_second_row_only_where_guidance_is_asked_for(
    toy: Toy, picture: np.ndarray, fields: dict[str, Any], rows: list[int]
) -> None:
    assert toy()(image=picture, **WIDE, **fields).timings.rows == rows


def test_progress_previews_each_of_the_images_in_the_call(toy: Toy, picture: np.ndarray) -> None:
    for progress in toy().steps(OutpaintRequest(image=picture, **WIDE, num_images=2)):
        first, second = (progress.preview(index) for index in range(2))
        assert first.size == second.size == (128, 64)
        assert first.tobytes() != second.tobytes()


def test_a_run_that_is_left_early_calls_the_unet_no_more_and_has_no_result(toy: Toy, picture: np.ndarray) -> None:
    calls = []

    def counting(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(1)
        return toy_unet(**feeds)

    run = toy(unet=counting).steps(OutpaintRequest(image=picture, **WIDE))
    for progress in run:
        if progress.step == 2:
            break
    assert len(calls) == 2
    with pytest.raises(OutpaintError, match="no result yet"):
        _ = run.result


def test_a_nan_stops_the_run_with_the_step_in_the_message(toy: Toy, picture: np.ndarray) -> None:
    def broken(sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray) -> dict[str, np.ndarray]:
        return {"out_sample": sample[:, :4] * np.nan}

    with pytest.raises(NumericalError, match="at step 1"):
        toy(unet=broken)(image=picture, **WIDE)


def test_a_unet_with_another_number_of_channels_is_refused(toy: Toy) -> None:
    with pytest.raises(EngineSetError, match="5 channels; outpainting knows 4 and 9"):
        toy(5)


def test_strength_below_one_runs_fewer_steps(toy: Toy, picture: np.ndarray) -> None:
    result = toy()(image=picture, **{**WIDE, "num_inference_steps": 8}, strength=0.5)
    assert len(result.timings.steps) == 4


def test_the_prompt_reaches_the_unet_and_the_negative_prompt_only_with_guidance(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy()

    def latents(**fields: Any) -> np.ndarray:
        return pipe(image=picture, **WIDE, **fields).latents

    assert not np.array_equal(latents(prompt="sea"), latents(prompt="hills"))
    assert not np.array_equal(latents(prompt="sea"), latents(prompt="sea", negative_prompt="sun"))
    assert np.array_equal(
        latents(prompt="sea", guidance_scale=1.0), latents(prompt="sea", negative_prompt="sun", guidance_scale=1.0)
    )


def test_transparent_pixels_are_painted_and_opaque_ones_kept(toy: Toy, picture: np.ndarray) -> None:
    opaque = np.full((48, 64, 1), 255, np.uint8)
    opaque[:, :32] = 0
    result = toy()(
        image=np.dstack([picture, opaque]), width=64, height=48, num_inference_steps=2, mask_expand=0, seed=0
    )
    out = np.asarray(result.images[0])
    assert np.array_equal(out[:, 32:], picture[:, 32:])
    assert not np.array_equal(out[:, :32], picture[:, :32])


def test_sides_and_aspect_are_options_of_a_call(toy: Toy, picture: np.ndarray) -> None:
    quick = {"num_inference_steps": 1, "seed": 0}
    assert toy()(image=picture, left=96, right=96, **quick).images[0].size == (256, 48)
    assert toy()(image=picture, aspect="16:9", **quick).images[0].size == (88, 48)


def test_a_request_is_given_alone_or_as_options_by_name(toy: Toy, picture: np.ndarray) -> None:
    with pytest.raises(RequestError, match="not both: seed"):
        toy()(OutpaintRequest(image=picture, **WIDE), seed=3)
    with pytest.raises(RequestError, match="options by name"):
        toy()("sunset sea", image=picture)


def test_what_is_printed_of_a_result_says_what_it_is_without_arrays(toy: Toy, picture: np.ndarray) -> None:
    result = toy()(image=picture, **WIDE)
    assert "seeds=" in repr(result) and "images=" in repr(result)
    assert "array" not in repr(result) and len(repr(result)) < 2500


def test_a_notebook_is_offered_every_option_of_a_call(toy: Toy) -> None:
    offered = inspect.signature(toy().__call__).parameters
    assert {"image", "prompt", "left", "aspect", "width", "num_inference_steps", "seed"} <= offered.keys()
    assert offered["guidance_scale"].default == 7.5
