"""From refined latents to a level's picture.

Of what is decoded only the difference to the enlarged picture, decoded the same way, is added to that picture: what an
autoencoder makes of a tile by itself, or loses, cancels out. Tiles are faded into each other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from ..canvas import Box
from ..run import Placed
from ..tensors import Array
from .anchor import low_frequencies
from .begin import paste
from .tiles import FACTOR, Tile

__all__ = ["join"]

HELD = 16
"""Radius in pixels of what is taken back of a change: colours stay the composition's."""


def join(
    picture: Array,
    placed: Placed,
    groups: Sequence[Sequence[Tile]],
    change: Callable[[Sequence[Tile]], Iterable[tuple[Tile, Array]]],
) -> Iterator[None]:
    """Write what the tiles change into `picture`, uint8 (height, width, 3); pauses after each group of them.

    `change` gives each tile of a group with what it changes, float32 (height, width, 3) in levels of 255. Rows are
    finished as soon as no tile is left that touches them, so that only some are held as floats.
    """
    width = picture.shape[1]
    left = Counter(place for group in groups for tile in group for place in tile.rows.places.tolist())
    rows: dict[int, Array] = {}
    for group in groups:
        for tile, changed in change(group):
            for place in tile.rows.places.tolist():
                rows.setdefault(place, np.zeros((FACTOR, width, 3), np.float32))
            _add(rows, tile, changed)
            left.subtract(tile.rows.places.tolist())
        yield
        for first, count in _runs(sorted(place for place in rows if not left[place])):
            finished = np.concatenate([rows.pop(place) for place in range(first, first + count)])
            box = Box(0, FACTOR * first, width, FACTOR * (first + count))
            paste(picture, picture[box.top : box.bottom] + finished, placed, box)


def _add(rows: dict[int, Array], tile: Tile, change: Array) -> None:
    """Add a tile's change, without what is wide in it, by the tile's weights."""
    fine = change - low_frequencies(change.transpose(2, 0, 1), HELD).transpose(1, 2, 0)
    weights = tile.weights.repeat(FACTOR, 0).repeat(FACTOR, 1)
    columns = tile.pixels[1][0]
    for at, place in enumerate(tile.rows.places.tolist()):
        part = slice(FACTOR * at, FACTOR * (at + 1))
        rows[place][:, columns] += weights[part, :, None] * fine[part]


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive places as (first, count)."""
    groups = groupby(enumerate(places), lambda pair: pair[1] - pair[0])
    runs = [[place for _, place in group] for _, group in groups]
    return [(run[0], len(run)) for run in runs]
