"""Masks beside the picture: holes as transparency, grey that is let go of step by step, and what is refused."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outpaint_engine import ImageError, OutpaintPipeline, RequestError
from outpaint_engine.denoise import hold_by_grey
from outpaint_engine.schedule import CLEAN, Level

Toy = Callable[..., OutpaintPipeline]
COMMON: dict[str, Any] = {"prompt": "a", "num_inference_steps": 4, "seed": 3, "mask_expand": 4, "detail": "off"}


def png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("placement", [{"right": 32}, {"left": 16, "scale": 1.5}, {"left": 0}])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_mask_of_black_and_white_equals_the_same_hole_in_alpha(
    toy: Toy, picture: np.ndarray, channels: int, placement: dict[str, Any], strength: float
) -> None:
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[10:20, 30:44] = 255
    cut = np.dstack([picture, 255 - mask])
    pipe, asked = toy(channels), COMMON | placement | {"strength": strength}
    hole, masked = pipe(image=cut, **asked), pipe(image=picture, mask=mask, **asked)
    assert np.array_equal(hole.latents, masked.latents)
    assert np.array_equal(np.asarray(hole.images[0]), np.asarray(masked.images[0]))


@pytest.mark.parametrize("given", [png, Image.fromarray, lambda mask: mask > 0, lambda mask: np.dstack([mask] * 3)])
def test_a_mask_may_be_a_file_a_pil_image_or_an_array(toy: Toy, picture: np.ndarray, given: Callable[..., Any]) -> None:
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[10:20, 30:44] = 255
    found, expected = (toy()(image=picture, mask=each, left=0, **COMMON).images[0] for each in (given(mask), mask))
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("options", [{}, {"window": True}, {"detail": "on"}])
def test_black_is_kept_byte_for_byte_beside_grey(
    toy: Toy, picture: np.ndarray, channels: int, options: dict[str, Any]
) -> None:
    picture = np.tile(picture, (4, 3, 1))
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[20:60, 24:72] = np.linspace(0, 200, 48).astype(np.uint8)
    result = toy(channels)(image=picture, mask=mask, left=0, **(COMMON | options))
    found, black = np.asarray(result.images[0]), mask <= 5
    assert np.array_equal(found[black], picture[black])
    assert (found[mask > 100] != picture[mask > 100]).mean() > 0.9
    assert result.quality[0].changed_pixels == 0


@pytest.mark.parametrize("channels", [4, 9])
def test_the_lighter_grey_is_the_further_the_painting_leaves_the_picture(
    toy: Toy, picture: np.ndarray, channels: int
) -> None:
    asked = COMMON | {"num_inference_steps": 10, "left": 0, "color_match": False}
    moved = []
    for level in (40, 120, 220):
        mask = np.full(picture.shape[:2], level, np.uint8)
        found = np.asarray(toy(channels)(image=picture, mask=mask, **asked).images[0])
        moved.append(np.abs(found - picture.astype(float)).mean())
    assert moved == sorted(moved) and moved[2] > 1.5 * moved[0]


def test_grey_is_held_for_its_share_of_the_calls_and_black_to_the_end() -> None:
    mask = np.array([0, 0.3, 0.6, 1], np.float32)
    constrain = hold_by_grey(np.ones(4), np.zeros(4), mask, calls=4)
    held = [constrain(np.full(4, 9.0), Level(1, 0)).tolist() for _ in range(3)]
    assert held == [[1, 1, 1, 9], [1, 1, 9, 9], [1, 9, 9, 9]]
    assert constrain(np.full(4, 9.0), CLEAN).tolist() == [1, 9, 9, 9]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"mask": np.zeros((48, 64), np.uint8)},
            "nothing of it is transparent or lighter than black",
        ),
        ({}, "64x48 canvas. Use a larger canvas"),
    ],
)
def test_nothing_to_paint_is_refused_with_what_would_help(
    toy: Toy, picture: np.ndarray, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        toy()(image=picture, left=0, **given)


def test_a_mask_of_another_size_is_refused_with_the_remedy(toy: Toy, picture: np.ndarray) -> None:
    with pytest.raises(RequestError, match="The mask is 32x48 and the picture is 64x48: make the mask as large"):
        toy()(image=picture, mask=np.zeros((48, 32), bool), right=8)


def test_a_mask_with_alpha_is_refused(toy: Toy, picture: np.ndarray) -> None:
    with pytest.raises(ImageError, match="The mask has transparent pixels: save it without alpha"):
        toy()(image=picture, mask=np.zeros((48, 64, 4), np.uint8), right=8)


def test_a_black_mask_alone_leaves_nothing_to_paint(toy: Toy, picture: np.ndarray) -> None:
    with pytest.raises(RequestError, match="Nothing is left to paint"):
        toy()(image=picture, mask=np.zeros((48, 64), bool), left=0)
