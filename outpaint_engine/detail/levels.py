"""The sizes that a large canvas goes through: composed at what the model knows, then enlarged by at most 2 a level."""

import math
from typing import NamedTuple

__all__ = ["AUTO_FACTOR", "Level", "factor", "levels", "work_size"]

AUTO_FACTOR = 1.5
"""`detail` "auto" refines canvases of more than this many times the working size a side."""
FLATTEST = 4
"""The working size is at most so many times wider than high, or higher than wide: less than half the native size
is more than a model can compose in."""


class Level(NamedTuple):
    """One size in pixels; a level that is not refined is enlarged only."""

    width: int
    height: int
    refined: bool


def work_size(width: int, height: int, side: int) -> tuple[int, int]:
    """The (width, height) at which a canvas is composed: its aspect, the area of `side` squared, multiples of 8."""
    scale = side / math.sqrt(width * height)
    scale = max(scale, side / 2 / min(width, height))
    return tuple(max(8, round(each * min(1, scale) / 8) * 8) for each in (width, height))  # type: ignore[return-value]


def factor(width: int, height: int, side: int) -> float:
    """How many times the working size a canvas is, a side."""
    small = work_size(width, height, side)
    return math.sqrt(width * height / (small[0] * small[1]))


def levels(width: int, height: int, side: int, refined: int) -> list[Level]:
    """The sizes after the composition, the last of them the canvas.

    As few as factors of at most 2 allow, evenly spaced; the first `refined` are refined, and what remains is enlarged
    at once.
    """
    small = work_size(width, height, side)
    count = max(1, math.ceil(math.log2(factor(width, height, side)) - 0.05))
    sizes = [_between(small, (width, height), step / count) for step in range(1, count)] + [(width, height)]
    kept = [Level(*size, True) for size in sizes[:refined]]
    return kept if refined >= count else [*kept, Level(width, height, False)]


def _between(small: tuple[int, int], large: tuple[int, int], share: float) -> tuple[int, int]:
    """The size at a share of the way, in logarithms, in multiples of 8."""
    width, height = (round(a * (b / a) ** share / 8) * 8 for a, b in zip(small, large, strict=True))
    return width, height
