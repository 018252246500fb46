"""Changes of one weight made one after another; a DoRA brings its rows to its magnitudes."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.adapters import LayerChange, make_changes
from outpaint_engine.errors import AdapterError

SHAPES = [(4, 6), (4, 6, 1, 1), (4, 6, 3, 3)]
MAGNITUDE = np.array([0.5, 1, 2, 3], np.float32)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def change(shape: tuple[int, ...], magnitude: np.ndarray | None = MAGNITUDE, size: float = 1.0) -> LayerChange:
    """Rank 2, at a scale of 0.5."""
    down, up = numbers(1, 2, *shape[1:]), numbers(2, 4, 2, *(1,) * (len(shape) - 2)) * np.float32(size)
    return LayerChange(Path("a.safetensors"), "conv.weight", {"down": down, "up": up}, 0.5, shape, magnitude)


@pytest.mark.parametrize("strength", [1.0, 0.7, -0.6])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_dora_keeps_the_direction_of_the_sum_and_states_its_length(shape: tuple[int, ...], strength: float) -> None:
    weight = numbers(0, *shape)
    total = (weight + change(shape).delta(strength)).reshape(4, -1)
    make_changes(weight, [(change(shape), strength)])
    rows = weight.reshape(4, -1)
    np.testing.assert_allclose(np.sqrt((rows.astype(np.float64) ** 2).sum(1)), MAGNITUDE, rtol=1e-6)
    directions = total / np.sqrt((total**2).sum(1, keepdims=True))
    np.testing.assert_allclose(rows, MAGNITUDE[:, None] * directions, rtol=1e-5, atol=1e-6)


def test_a_dora_of_strength_0_is_left_out() -> None:
    weight = numbers(0, 4, 6)
    make_changes(weight, [(change((4, 6)), 0.0)])
    np.testing.assert_array_equal(weight, numbers(0, 4, 6))


def test_a_weight_that_is_stored_the_other_way_round_is_changed_to_the_same_bits() -> None:
    weight, turned = numbers(0, 4, 600), np.ascontiguousarray(numbers(0, 4, 600).T)
    for stored in (weight, turned.T):
        make_changes(stored, [(change((4, 600)), 0.7), (change((4, 600), None), -0.4)])
    np.testing.assert_array_equal(weight, turned.T)


@pytest.mark.parametrize(("weight", "size"), [(np.zeros((4, 6), np.float32), 0.0), (numbers(0, 4, 6), 1e25)])
def test_a_row_without_a_direction_is_refused(weight: np.ndarray, size: float) -> None:
    with pytest.raises(AdapterError, match="a row of 'conv.weight' with a norm of 0, or beyond float32"):
        make_changes(weight, [(change((4, 6), size=size), 1.0)])
