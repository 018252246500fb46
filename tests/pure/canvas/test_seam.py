"""The colour match, and the figures that say how well the painted area joins the picture."""

import numpy as np
import pytest

from outpaint_engine import Placement, plan
from outpaint_engine.canvas import color_match, report

PLAN = plan((96, 96), Placement(192, 96, 1.0, 48, 0), mask_expand=8)


def ramp() -> np.ndarray:
    """A smooth picture of the canvas's size with a little noise."""
    y, x = np.mgrid[0:96, 0:192]
    smooth = np.stack([60 + y, 80 + x / 2, 200 - x / 2], axis=-1)
    return smooth + np.random.default_rng(0).normal(0, 2, smooth.shape)


def as_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def test_a_uniform_shift_of_the_decoder_is_taken_out_at_the_seam_and_fades_away() -> None:
    canvas = as_picture(ramp())
    matched = color_match((canvas + 20.0).astype(np.float32), canvas, PLAN.painted_share, blur=2, reach=32)
    error = np.abs(matched - canvas).mean(axis=(0, 2))
    assert error[48:144].max() < 1
    assert error[:10].min() > 19
    assert (np.diff(error[10:48]) <= 0.01).all()


def test_nothing_is_changed_where_the_decoder_was_right() -> None:
    canvas = as_picture(ramp())
    matched = color_match(canvas.astype(np.float32), canvas, PLAN.painted_share, blur=2, reach=32)
    assert np.abs(matched - canvas).max() < 1e-3


def test_in_the_band_colours_become_the_pictures_and_detail_stays_the_models() -> None:
    canvas = as_picture(ramp())
    stripes = np.where(np.arange(96) % 2, 30.0, -30.0)[:, None, None]
    matched = color_match((canvas + 20 + stripes).astype(np.float32), canvas, PLAN.painted_share, blur=2, reach=32)
    band = slice(48, 56)
    assert np.abs((matched - canvas)[:, band].mean()) < 1
    assert np.abs((matched - canvas - stripes)[2:-2, band]).mean() < 8


def test_a_frame_that_the_band_paints_over_does_not_come_back_by_its_colour() -> None:
    canvas = as_picture(ramp())
    wide = plan((96, 96), Placement(192, 96, 1.0, 48, 0), mask_expand=32)
    painted = canvas.astype(np.float32)
    framed = canvas.copy()
    framed[:, 48:54] = 255
    matched = color_match(painted, framed, wide.painted_share, blur=8, reach=32)
    assert np.abs(matched - painted)[:, :48].max() < 8


def test_an_undisturbed_picture_scores_as_seamless() -> None:
    picture = as_picture(ramp())
    found = report(picture, picture, PLAN)
    assert found.changed_pixels == 0
    assert found.seam_gradient_ratio == pytest.approx(1, abs=0.1)
    assert found.ring_color_shift is not None and found.ring_color_shift < 1


def test_a_line_a_blur_and_a_colour_jump_each_show_in_their_figure() -> None:
    picture = ramp()
    line = picture.copy()
    line[:, 47:49] += 60
    assert report(as_picture(line), as_picture(picture), PLAN).seam_gradient_ratio > 1.5
    blurred = picture.copy()
    blurred[:, 44:57] = picture[:, 44:57].mean(axis=1, keepdims=True)
    assert report(as_picture(blurred), as_picture(picture), PLAN).seam_gradient_ratio < 0.8
    jump = picture.copy()
    jump[:, :48] += 15
    assert 5 < report(as_picture(jump), as_picture(picture), PLAN).ring_color_shift < 10


def test_changed_pixels_outside_the_band_are_counted_and_those_inside_are_not() -> None:
    picture = as_picture(ramp())
    changed = picture.copy()
    changed[10, 50] ^= 255  # in the band
    changed[10, 70] ^= 255  # kept
    changed[10, 10] ^= 255  # painted
    assert report(changed, picture, PLAN).changed_pixels == 1


def test_a_picture_too_small_for_rings_has_no_seam_figures() -> None:
    small = plan((32, 32), Placement(64, 32), mask_expand=8)
    found = report(np.zeros((32, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8), small)
    assert found.seam_gradient_ratio is None and found.ring_color_shift is None
