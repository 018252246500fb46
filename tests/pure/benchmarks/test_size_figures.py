"""What the figures of large and wrapping pictures say of pictures of which it is known."""

import numpy as np
import pytest

from benchmarks.sizes.figures import drift, joint

PAINTED = np.ones(128, bool)


def test_a_joint_is_compared_with_the_other_columns_of_the_same_picture() -> None:
    noise = np.random.default_rng(0).integers(100, 110, (64, 128, 3)).astype(np.uint8)
    ramp = noise + np.arange(128, dtype=np.uint8)[None, :, None]
    closed, broken = joint(noise, PAINTED), joint(ramp, PAINTED)
    assert 0.9 < closed.to_others < 1.1 and closed.rank < 1
    assert broken.to_others > 10 and broken.rank == 1


def test_drift_is_the_trend_of_what_was_painted_and_not_that_the_view_became_another() -> None:
    shades = [200, *(100 + 0.5 * hop + (-1) ** hop for hop in range(10))]
    keyframes = [np.full((8, 8, 3), shade) for shade in shades]
    trend, error = drift(keyframes, np.ones((8, 8), bool))
    assert trend == pytest.approx(4.5, abs=1) and 0.5 < error < 2
