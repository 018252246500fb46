"""Overlapping tiles over a picture or its latents, and the weights by which what they say is averaged."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..tensors import Array

__all__ = ["FACTOR", "Span", "Tile", "Tiles", "edges", "spans"]

FACTOR = 8
"""Pixels a latent."""


class Span(NamedTuple):
    """One tile in one direction: the `length` places from `start`, in order, and their weights."""

    start: int
    places: Array
    weights: Array


@dataclass(frozen=True)
class Tile:
    """A rectangle of latents: the spans of its rows and columns. In a direction that wraps it may cross the border."""

    rows: Span
    columns: Span

    @cached_property
    def index(self) -> tuple[Array, Array]:
        """Takes the tile out of the last two axes of an array: `values[..., *tile.index]`."""
        return self.rows.places[:, None], self.columns.places[None]

    @property
    def pixels(self) -> tuple[Array, Array]:
        """As `index`, for the pixels under it."""
        within = np.arange(FACTOR)
        rows, columns = ((FACTOR * span.places[:, None] + within).ravel() for span in (self.rows, self.columns))
        return rows[:, None], columns[None]

    @cached_property
    def weights(self) -> Array:
        """Float32 (height, width), above 0, falling towards sides that other tiles overlap.

        Those of all tiles over a place add up to 1.
        """
        return self.rows.weights[:, None] * self.columns.weights[None]


@dataclass(frozen=True)
class Tiles:
    """Every tile over `height` x `width` latents; row by row, left to right."""

    height: int
    width: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @classmethod
    def over(cls, height: int, width: int, size: int, overlap: int, wrap: str = "", stretch: float = 1.0) -> "Tiles":
        """Tiles of about `size` latents a side that overlap by `overlap` or more.

        A tile is up to `stretch` times larger where that saves tiles, and smaller where the latents are.
        """
        rows = spans(height, size, overlap, "y" in wrap, stretch)
        columns = spans(width, size, overlap, "x" in wrap, stretch)
        return cls(height, width, rows, columns)

    def touching(self, marked: Array) -> list[Tile]:
        """The tiles that hold at least one marked place; `marked` is bool (height, width)."""
        tiles = (Tile(rows, columns) for rows in self.rows for columns in self.columns)
        return [tile for tile in tiles if marked[tile.index].any()]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a tile in latents."""
        return len(self.rows[0].places), len(self.columns[0].places)


def edges(spans: Sequence[Span], length: int) -> Iterator[int]:
    """Where tiles begin and end, inside the picture."""
    for span in spans:
        for at in (span.start, span.start + len(span.places)):
            if 0 < at < length:
                yield at


def spans(length: int, size: int, overlap: int, wrap: bool, stretch: float) -> tuple[Span, ...]:
    """Tiles over `length` places, in one direction; see `Tiles.over`."""
    most = int(size * stretch)
    if not wrap and length <= most:
        return (Span(0, np.arange(length), np.ones(length, np.float32)),)
    if wrap:
        size = min(size, length)
        # Two at least, so that each covers what is the other's border.
        count = max(2, math.ceil(length / (size - overlap)))
        starts = [round(n * length / count) for n in range(count)]
    else:
        count = math.ceil((length - overlap) / (most - overlap))
        size = min(most, max(size, _even(math.ceil((length + (count - 1) * overlap) / count))))
        count = math.ceil((length - overlap) / (size - overlap))
        starts = [round(n * (length - size) / (count - 1)) for n in range(count)]
    ramps = [_ramp(size, overlap, wrap or n > 0, wrap or n < count - 1) for n in range(count)]
    total = np.zeros(length, np.float32)
    for start, ramp in zip(starts, ramps, strict=True):
        total[np.arange(start, start + size) % length] += ramp
    spans = []
    for start, ramp in zip(starts, ramps, strict=True):
        places = np.arange(start, start + size) % length
        spans.append(Span(start, places, ramp / total[places]))
    return tuple(spans)


def _even(size: int) -> int:
    """The next multiple of 4: what a UNet halves twice without a rest."""
    return -(-size // 4) * 4


def _ramp(size: int, overlap: int, before: bool, after: bool) -> Array:
    """Weights of one tile: rising over the overlap with the tile before it, falling over that with the one after."""
    rise = (np.arange(size) + 0.5) / max(overlap, 1)
    weights = np.minimum(rise, 1) if before else np.ones(size)
    return (weights * (np.minimum(rise, 1)[::-1] if after else 1)).astype(np.float32)
