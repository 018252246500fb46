"""The figures of a picture beside its reference, and what keeps a bound."""

import math

import numpy as np
import pytest
from outpaint_export.parity.fidelity import Bounds, Figures, figures

LATENTS = np.array([[[[-2.0, 1.0]]]], np.float32)
PICTURE = np.full((10, 10, 3), 100, np.uint8)


def test_equal_pictures_have_no_error_and_no_signal_to_noise_ratio() -> None:
    assert figures((LATENTS, PICTURE), (LATENTS, PICTURE)) == Figures(0.0, 1.0, 0, None)


def test_each_figure_is_what_it_says() -> None:
    picture = PICTURE.copy()
    picture[0, 0] = 90, 101, 100
    found = figures((LATENTS + 0.5, picture), (LATENTS, PICTURE))
    assert found.latent_error == 0.25
    assert found.within_one_level == pytest.approx(299 / 300)
    assert found.max_level_error == 10
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / (101 / 300)))


@pytest.mark.parametrize(
    ("error", "share", "kept"),
    [(1e-3, 0.999, True), (1.1e-3, 1.0, False), (0.0, 0.99, False), (math.nan, 1.0, False)],
)
def test_both_bounds_have_to_be_kept(error: float, share: float, kept: bool) -> None:
    assert Figures(error, share, 1, 60.0).keeps(Bounds(1e-3, 0.999)) == kept
