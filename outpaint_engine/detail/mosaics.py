"""Tiles from far apart, laid beside each other for one call of the autoencoder.

Its group normalisation and its attention look at all that they are given, and a tile alone is not like the whole: what
is decoded tile by tile is off by more than tile edges show. Tiles from all over a picture are like it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..tensors import Array
from .tiles import Tile, Tiles, spans

__all__ = ["Mosaics"]

TILE, OVERLAP, WHOLE = 40, 8, 80
"""In latents: a tile's side, how far tiles overlap at least, and up to which side nothing is cut."""
MOST = 64
"""Tiles from which those of one call are chosen; they are held together until all of them are done."""


@dataclass(frozen=True)
class Mosaics:
    """The tiles of a picture for the autoencoder, and how many rows and columns of them share a call."""

    grid: Tiles
    rows: int
    columns: int

    @classmethod
    def over(cls, height: int, width: int, wrap: str) -> "Mosaics":
        """Lay tiles over `height` x `width` latents; in a direction that is short enough there is one."""
        rows, columns = (
            spans(length, WHOLE if length <= WHOLE else TILE, OVERLAP, direction in wrap, 1.0)
            for length, direction in ((height, "y"), (width, "x"))
        )
        return cls(Tiles(height, width, rows, columns), min(2, len(rows)), min(2, len(columns)))

    def groups(self, marked: Array) -> list[list[Tile]]:
        """The tiles that hold a marked place, bool (height, width), by the call that they share."""
        together, blocks = self.rows * self.columns, list[list[Tile]]()
        for tile in self.grid.touching(marked):
            if not blocks or (len(blocks[-1]) >= MOST and tile.rows is not blocks[-1][-1].rows):
                blocks.append([])
            blocks[-1].append(tile)
        return [group for block in blocks for group in _far_apart(block, together)]

    def run(self, group: Sequence[Tile], values: Array, call: Callable[[Array], Array]) -> Iterator[tuple[Tile, Array]]:
        """Give each tile of a group with what `call` makes of its part of `values`, arrays (1, channels, h, w).

        `values` are latents or pixels, and so may be the answer. A group that is not full is filled with its own.
        """
        scale = values.shape[2] // self.grid.height
        places = [group[number % len(group)] for number in range(self.rows * self.columns)]
        parts = [values[..., *(tile.pixels if scale > 1 else tile.index)] for tile in places]
        lines = [parts[at : at + self.columns] for at in range(0, len(parts), self.columns)]
        answer = call(np.concatenate([np.concatenate(line, axis=3) for line in lines], axis=2))
        height, width = (side // count for side, count in zip(answer.shape[2:], (self.rows, self.columns), strict=True))
        for number, tile in enumerate(group):
            row, column = divmod(number, self.columns)
            yield tile, answer[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]


def _far_apart(tiles: Sequence[Tile], together: int) -> list[list[Tile]]:
    """Groups of up to `together` tiles, one of each part of the list, and in each part another place of it."""
    calls = -(-len(tiles) // together)
    groups = []
    for call in range(calls):
        at = [calls * part + (call + round(part * calls / together)) % calls for part in range(together)]
        groups.append([tiles[number] for number in at if number < len(tiles)])
    return [group for group in groups if group]
