"""Where the picture goes. Three ways to say it exist in the field; the other two convert into `Placement`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RequestError

__all__ = ["ANCHORS", "MAX_SIDE", "WAYS", "Placement", "way_of"]

MAX_SIDE = 16_384
"""Pixels of a canvas side."""
MAX_SCALED_PIXELS = 200_000_000
ANCHORS: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
}
"""Where the picture sits on a larger canvas, as a share of the spare width and height."""
WAYS: Mapping[str, tuple[str, ...]] = {
    "canvas": ("width", "height", "offset_x", "offset_y"),
    "sides": ("left", "right", "top", "bottom"),
    "aspect": ("aspect", "anchor"),
}
"""The three ways to say a placement, with their options; `scale` goes with each."""


@dataclass(frozen=True)
class Placement:
    """Canvas size in pixels, factor on the picture's own pixels, and the picture's top-left corner."""

    width: int
    height: int
    scale: float = 1.0
    offset_x: int = 0
    offset_y: int = 0

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture's size on the canvas, at least one pixel each way.

        Raises:
            RequestError: it would have more than `MAX_SCALED_PIXELS`.
        """
        width, height = (max(1, round(side * self.scale)) for side in size)
        if width * height > MAX_SCALED_PIXELS:
            raise RequestError(
                f"scale {self.scale:g} would make the picture {width}x{height}: over {MAX_SCALED_PIXELS:,} pixels. "
                "Use a smaller scale."
            )
        return width, height

    @classmethod
    def from_sides(
        cls, size: tuple[int, int], *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0, scale: float = 1.0
    ) -> "Placement":
        """Extend a picture of `size` (width, height), after `scale`, by pixels on each side.

        A canvas side that would be no multiple of 8 grows to one where that direction is extended (on the
        right or bottom if asked there, else on the left or top) and crops the picture where it is not.
        """
        if min(left, right, top, bottom) < 0:
            raise RequestError("left, right, top and bottom must be 0 or more pixels.")
        scaled = cls(8, 8, scale).scaled(size)
        offset_x, width = _extended(scaled[0], left, right)
        offset_y, height = _extended(scaled[1], top, bottom)
        return cls(width, height, scale, offset_x, offset_y)._within(MAX_SIDE)

    @classmethod
    def from_aspect(cls, size: tuple[int, int], aspect: str, anchor: str = "center", scale: float = 1.0) -> "Placement":
        """Extend a picture of `size` (width, height), after `scale`, to an aspect ratio "W:H" such as "16:9".

        One direction is extended, the other keeps its size but for at most 7 pixels that make it a multiple of 8.
        """
        try:
            across, down = map(float, aspect.split(":"))
            ratio = across / down
        except (AttributeError, ValueError, ZeroDivisionError):
            ratio = 0.0
        if not 0.05 <= ratio <= 20:
            raise RequestError(f"aspect must be two numbers like 16:9, at most 20:1; not {aspect!r}.")
        if anchor not in ANCHORS:
            raise RequestError(f"anchor must be one of {', '.join(ANCHORS)}; not {anchor!r}.")
        scaled = cls(8, 8, scale).scaled(size)
        share_x, share_y = ANCHORS[anchor]
        if scaled[0] < scaled[1] * ratio:
            width, height = max(8, round(scaled[1] * ratio / 8) * 8), _cropped(scaled[1])
            found = cls(width, height, scale, round(max(0, width - scaled[0]) * share_x), 0)
        else:
            width, height = _cropped(scaled[0]), max(8, round(scaled[0] / ratio / 8) * 8)
            found = cls(width, height, scale, 0, round(max(0, height - scaled[1]) * share_y))
        return found._within(MAX_SIDE)

    @classmethod
    def of(cls, size: tuple[int, int], options: Mapping[str, Any]) -> "Placement":
        """Place a picture of `size` (width, height) by options of one of the `WAYS`, and `scale`."""
        way = way_of(options)
        if way == "aspect" and "aspect" not in options:
            raise RequestError("anchor goes with aspect: say the aspect ratio too, such as 16:9.")
        if way == "sides":
            return cls.from_sides(size, **options)
        return cls.from_aspect(size, **options) if way == "aspect" else cls(**options)

    def _within(self, most: int) -> "Placement":
        """Return itself, where its sides have at most `most` pixels."""
        if max(self.width, self.height) > most:
            raise RequestError(
                f"The canvas would be {self.width}x{self.height}, and a side has at most {most} pixels. Extend by "
                f"less, or make the picture smaller first: with a scale below {self.scale:g}."
            )
        return self


def way_of(given: Iterable[str]) -> str:
    """Which of the `WAYS` the given options say a placement in; "" for none.

    Raises:
        RequestError: more than one.
    """
    named = {way: [name for name in given if name in names] for way, names in WAYS.items()}
    used = [way for way, names in named.items() if names]
    if len(used) > 1:
        names = " and ".join(named[way][0] for way in used)
        raise RequestError(f"Say the placement in one way, not several: {names} were given.")
    return used[0] if used else ""


def _cropped(side: int) -> int:
    """The multiple of 8 at or below a side."""
    return max(8, side // 8 * 8)


def _extended(side: int, before: int, after: int) -> tuple[int, int]:
    """Return (offset of the picture, canvas side), the canvas side a multiple of 8."""
    if not before and not after:
        return 0, _cropped(side)
    total = before + side + after
    missing = -total % 8
    return (before, total + missing) if after else (before + missing, total + missing)
