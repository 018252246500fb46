"""How a canvas larger than the model is painted."""

from dataclasses import dataclass

from ..errors import RequestError
from .checks import check_number, check_whole

__all__ = ["MAX_STRAIGHT_SIDE", "Detail"]

MAX_STRAIGHT_SIDE = 4096
"""Without detail the model is run on the whole canvas at once."""


@dataclass(frozen=True)
class Detail:
    """A canvas larger than the model is composed at a size that the model knows, enlarged, and refined in tiles.

    Raises:
        RequestError: a field leaves its range.
    """

    work_size: int | None = None
    """The working size is a canvas of this side, or of its area; None is the side that the model was trained at."""
    strength: float = 0.4
    """Share of the steps that the first refined level runs; the levels above it run three quarters of that."""
    tile: int | None = None
    """Side of a tile in pixels, a multiple of 8; None is the side that the model was trained at."""
    overlap: int | None = None
    """Pixels that tiles overlap at least, a multiple of 8; None is a quarter of the tile."""
    levels: int | None = None
    """How many levels are refined, each up to 2 times as large a side; what remains is enlarged only. None is as many
    as the engine set says."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_number("detail's strength", self.strength, 0.01, 1)
        for name, low in (("work_size", 64), ("tile", 64), ("overlap", 8)):
            value = getattr(self, name)
            if value is not None:
                check_whole(f"detail's {name}", value, low, MAX_STRAIGHT_SIDE)
                if value % 8:
                    raise RequestError(f"detail's {name} must be a multiple of 8, not {value}.")
        if self.tile and self.overlap and self.overlap > self.tile // 2:
            raise RequestError(f"detail's overlap must be at most half the tile of {self.tile}, not {self.overlap}.")
        if self.levels is not None:
            check_whole("detail's levels", self.levels, 0, 8)
