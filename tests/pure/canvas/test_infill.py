"""The unknown canvas is filled with something plausible before it is encoded."""

import numpy as np
import pytest

from outpaint_engine.canvas import INFILLS, choose_infill, infill, spread

CANVAS = np.full((64, 96, 3), (200, 100, 50), np.uint8)
UNKNOWN = np.ones((64, 96), np.float32)
UNKNOWN[:, :40] = 0


@pytest.mark.parametrize("kind", INFILLS)
def test_known_pixels_are_never_touched(kind: str) -> None:
    canvas = np.random.default_rng(0).integers(0, 256, CANVAS.shape).astype(np.uint8)
    filled = infill(kind, canvas, UNKNOWN, seed=0)
    assert np.array_equal(filled[:, :40], canvas[:, :40])


def test_edge_carries_a_flat_colour_everywhere() -> None:
    filled = infill("edge", np.where(UNKNOWN[..., None] == 0, CANVAS, 0), UNKNOWN, seed=0)
    assert np.array_equal(filled, CANVAS)


def test_edge_starts_with_the_colour_of_the_nearest_edge() -> None:
    values = np.zeros((64, 64, 1), np.float32)
    values[:32], values[32:] = 10, 90
    known = np.zeros((64, 64), bool)
    known[:, :32] = True
    filled = spread(values, known)[..., 0]
    assert abs(filled[8, 33] - 10) < 1 and abs(filled[56, 33] - 90) < 1


def test_grey_is_the_mid_grey_that_the_vae_sees_as_zero() -> None:
    assert (infill("grey", CANVAS, UNKNOWN, seed=0)[:, 40:] == 128).all()


def test_noise_has_the_detail_of_the_picture_in_the_unknown_area() -> None:
    canvas = np.clip(CANVAS + np.random.default_rng(0).normal(0, 12, CANVAS.shape), 0, 255).astype(np.uint8)
    filled = infill("noise", canvas, UNKNOWN, seed=0).astype(float)
    assert 8 < filled[:, 48:].std(axis=(0, 1)).mean() < 16


CHOICES = [(4, 1.0, "edge"), (4, 0.75, "noise"), (9, 1.0, "grey"), (9, 0.75, "grey")]


@pytest.mark.parametrize(("channels", "strength", "kind"), CHOICES)
def test_auto_chooses_by_the_unets_channels_and_the_strength(channels: int, strength: float, kind: str) -> None:
    assert choose_infill(channels, strength) == kind
