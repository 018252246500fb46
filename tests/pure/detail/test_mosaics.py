"""Tiles that share a call of the autoencoder: each is in one call, and a call sees what the whole picture shows."""

import numpy as np
import pytest

from outpaint_engine.detail.mosaics import MOST, WHOLE, Mosaics
from outpaint_engine.tensors import Array


def everywhere(mosaics: Mosaics) -> Array:
    return np.ones((mosaics.grid.height, mosaics.grid.width), bool)


@pytest.mark.parametrize(
    ("size", "wrap", "shape"),
    [
        ((WHOLE, WHOLE), "", (1, 1)),
        ((128, WHOLE), "", (2, 1)),
        ((128, 128), "", (2, 2)),
        ((64, 128), "y", (2, 2)),
        ((500, 375), "", (2, 2)),
    ],
)
def test_each_tile_is_in_one_call_and_their_weights_add_up_to_1(
    size: tuple[int, int], wrap: str, shape: tuple[int, int]
) -> None:
    mosaics = Mosaics.over(*size, wrap)
    total = np.zeros(size)
    for group in mosaics.groups(everywhere(mosaics)):
        assert 1 <= len(group) <= shape[0] * shape[1]
        for tile in group:
            total[tile.index] += tile.weights
    assert (mosaics.rows, mosaics.columns) == shape
    assert np.allclose(total, 1, atol=1e-6)


def test_rows_are_finished_long_before_a_large_picture_is() -> None:
    mosaics = Mosaics.over(2000, 500, "")
    groups, across = mosaics.groups(everywhere(mosaics)), len(mosaics.grid.columns)
    begins = [[tile.rows.start for tile in group] for group in groups]
    calls = -(-(MOST + across) // 4)
    assert max(map(max, begins[:calls])) < min(map(min, begins[2 * calls :]))


@pytest.mark.parametrize("scale", [1, 8])
def test_each_tile_gets_the_answer_to_its_own_part(scale: int) -> None:
    mosaics = Mosaics.over(128, 104, "x")
    values = np.random.default_rng(0).random((1, 3, 128 * scale, 104 * scale), np.float32)
    for group in mosaics.groups(everywhere(mosaics)):
        for tile, found in mosaics.run(group, values, lambda part: part[:, :, ::scale, ::scale]):
            assert np.array_equal(found, values[:, :, ::scale, ::scale][..., *tile.index])


def test_what_looks_at_all_that_it_is_given_answers_nearly_as_for_the_whole() -> None:
    """Sky above and ground below: tiles alone are normalised away from each other."""

    def normalised(part: Array) -> Array:
        return (part - part.mean()) / part.std()

    values = np.linspace(-1, 1, 128, dtype=np.float32)[None, None, :, None].repeat(128, 3)
    mosaics, whole = Mosaics.over(128, 128, ""), normalised(values)
    groups = mosaics.groups(everywhere(mosaics))
    together = [(tile, found) for group in groups for tile, found in mosaics.run(group, values, normalised)]
    apart = [(tile, normalised(values[..., *tile.index])) for group in groups for tile in group]
    errors = [max(np.abs(found - whole[..., *tile.index]).max() for tile, found in each) for each in (together, apart)]
    assert errors[0] < 0.1 * errors[1]
