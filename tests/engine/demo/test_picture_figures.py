"""What the demo's figures say of pictures that were made to be blurred, rimmed, or off by a known number of rows."""

import numpy as np
import pytest

from .picture_figures import (
    REACH,
    explained_gradient,
    line_jump,
    psnr,
    ridge_explained_gradient,
    sharpness,
)

SKY, LAND = np.array([200.0, 180, 160]), np.array([60.0, 80, 70])


def horizon(rows: np.ndarray, height: int = 96) -> np.ndarray:
    """Sky over land that begins at `rows`, one a column, antialiased over a pixel."""
    covered = np.clip(np.arange(height)[:, None] - rows[None] + 0.5, 0, 1)[..., None]
    return SKY + covered * (LAND - SKY)


def blurred(picture: np.ndarray, times: int = 3) -> np.ndarray:
    for _ in range(times):
        picture = (np.roll(picture, 1, axis=0) + 2 * picture + np.roll(picture, -1, axis=0)) / 4
    return picture


def rimmed(picture: np.ndarray, strength: float) -> np.ndarray:
    return picture + strength * (picture - blurred(picture))


@pytest.fixture
def truth() -> np.ndarray:
    return horizon(50 + 6 * np.sin(np.arange(128) / 20))


def test_the_true_picture_has_the_best_figures(truth: np.ndarray) -> None:
    assert sharpness(truth, truth) == explained_gradient(truth, truth) == 1
    assert psnr(truth + 1, truth) == pytest.approx(48.13, abs=0.01)


def test_a_flat_picture_explains_no_gradient(truth: np.ndarray) -> None:
    flat = np.zeros_like(truth)
    assert explained_gradient(flat, truth) == 0 and sharpness(flat, truth) == 0


def test_a_blurred_picture_is_less_sharp(truth: np.ndarray) -> None:
    assert 0.2 < sharpness(blurred(truth), truth) < 0.7


def test_rims_look_sharp_and_lower_the_explained_gradient(truth: np.ndarray) -> None:
    soft = blurred(truth)
    rims = rimmed(truth, 4.0)
    assert sharpness(rims, truth) > 1 > sharpness(soft, truth)
    assert explained_gradient(rims, truth) < 0 < explained_gradient(soft, truth)


def test_only_what_counts_is_measured(truth: np.ndarray) -> None:
    left = np.zeros(truth.shape[:2], bool)
    left[:, :64] = True
    half = np.where(left[..., None], truth, blurred(truth))
    assert explained_gradient(half, truth, left) == 1 > 0.95 > explained_gradient(half, truth, ~left)


def test_a_ridge_line_is_clean_wherever_it_lies_and_not_with_rims(truth: np.ndarray) -> None:
    found = [ridge_explained_gradient(picture) for picture in (truth, np.roll(truth, 9, axis=0), blurred(truth))]
    assert found[0] > 0.9 and found[1] > 0.9 and 0 < found[2] < 0.9
    assert ridge_explained_gradient(rimmed(truth, 4.0)) < 0
    assert ridge_explained_gradient(np.full_like(truth, 90)) is None


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 20])
@pytest.mark.parametrize("slope", [0.0, 0.8])
def test_a_line_that_jumps_by_n_rows_jumps_by_n(rows: int, slope: float) -> None:
    height = 60 + slope * (np.arange(64) - 32)
    height[32:] += rows
    assert line_jump(horizon(height), 32, (20, 28), (36, 44)) == pytest.approx(rows, abs=0.5)


def test_a_line_that_ends_at_the_seam_is_as_far_off_as_can_be(truth: np.ndarray) -> None:
    truth[:, 32:] = SKY
    assert line_jump(truth, 32, (20, 28), (36, 44)) == REACH


def test_a_line_of_other_colours_is_not_taken_for_the_one_that_goes_on() -> None:
    picture = horizon(np.full(64, 60.0))
    picture[:, 32:] = horizon(np.full(32, 70.0))
    picture[52:58, 32:] = 255
    assert line_jump(picture, 32, (20, 28), (36, 44)) == pytest.approx(10, abs=0.5)
