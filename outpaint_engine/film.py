"""A film that moves out of a picture, or into it: keyframes that are each painted around the one before, and a camera.

Every keyframe has the frames' size, and shows the one before it shrunk by a factor, its own detail beside it. A frame
between two of them is the outer one enlarged with the inner one in it, at the resolution that each has there.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .errors import RequestError
from .images import Picture
from .request import MAX_SEED
from .tensors import Array

__all__ = ["Camera", "Hops", "first_keyframe", "frames"]

MAX_OUT = 1e6
MAX_FRAMES = 1_000_000
MARGIN = 5
"""Pixels of a keyframe that make up one of the frame, at most, and one more."""


@dataclass(frozen=True)
class Hops:
    """How the keyframes follow each other: `count` of them after the first, each `factor` times as wide a view.

    A frame is `width` x `height` pixels, multiples of 8; `mask_expand` as in `OutpaintRequest`.
    """

    width: int
    height: int
    factor: float
    count: int
    mask_expand: int = 8

    @classmethod
    def of(cls, size: tuple[int, int], out: float, hop: float = 2.0, mask_expand: int = 8) -> "Hops":
        """As few hops of at most `hop` as make `out` times as wide a view, all alike.

        Raises:
            RequestError: a number leaves its range.
        """
        if not 1 < out <= MAX_OUT:
            raise RequestError(f"out must be above 1 and at most {MAX_OUT:,.0f}, such as 8x; not {out:g}.")
        if not 1.1 <= hop <= 4:
            raise RequestError(f"hop must be a number from 1.1 to 4, not {hop:g}.")
        count = max(1, math.ceil(math.log(out) / math.log(hop) - 1e-9))
        return cls(*size, out ** (1 / count), count, mask_expand)

    @property
    def inner(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where a keyframe shows the one before: (left, width) and (top, height) in pixels."""
        width, height = (max(1, round(side * (1 / self.factor))) for side in (self.width, self.height))
        return ((self.width - width) // 2, width), ((self.height - height) // 2, height)

    def options(self, prompts: Sequence[str], seed: int, hop: int) -> dict[str, Any]:
        """What the request for the keyframe `hop` (from 1) says of placement, prompt and seed.

        The last of the prompts holds for all hops that have none of their own.
        """
        (left, _), (top, _) = self.inner
        return {
            "width": self.width,
            "height": self.height,
            "scale": 1 / self.factor,
            "offset_x": left,
            "offset_y": top,
            "mask_expand": self.mask_expand,
            "prompt": prompts[min(hop, len(prompts)) - 1] if prompts else "",
            "seed": (seed + hop - 1) % MAX_SEED,
        }


@dataclass(frozen=True)
class Camera:
    """How the view moves: exponentially, so that every second looks alike, and slowly at both ends.

    Raises:
        RequestError: a number leaves its range.
    """

    seconds: float
    fps: float = 30.0
    inward: bool = False
    loop: bool = False
    """Go back to where it began within the same time."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.fps <= 240:
            raise RequestError(f"fps must be a number from 1 to 240, not {self.fps:g}.")
        if not 2 <= self.seconds * self.fps <= MAX_FRAMES:
            raise RequestError(f"A film has 2 to {MAX_FRAMES:,} frames, not {self.seconds:g} s x {self.fps:g} fps.")

    @property
    def count(self) -> int:
        """How many frames there are."""
        return round(self.seconds * self.fps)

    def position(self, number: int) -> float:
        """How far out the frame `number` (from 0) is: 0 is the first keyframe, 1 the last."""
        # A loop ends one frame before it begins again.
        time = number / (self.count if self.loop else self.count - 1)
        gone = 0.5 - 0.5 * math.cos(math.pi * (2 * time if self.loop else time))
        return 1 - gone if self.inward else gone


def first_keyframe(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at a frame's size (width, height), cropped evenly to its aspect ratio."""
    scale = max(size[0] / picture.size[0], size[1] / picture.size[1])
    wide, tall = (max(side, round(own * scale)) for side, own in zip(size, picture.size, strict=True))
    resized = picture.resized((wide, tall))
    left, top = (wide - size[0]) // 2, (tall - size[1]) // 2
    inside = slice(top, top + size[1]), slice(left, left + size[0])
    if resized.opaque is not None and not resized.opaque[inside].all():
        raise RequestError("The picture has transparent pixels, and a film begins with a whole one. Paint them first.")
    return Picture(np.ascontiguousarray(resized.pixels[inside]), None)


def frames(
    keyframe: Callable[[int], Array], hops: Hops, camera: Camera, wanted: Sequence[int] | None = None
) -> Iterator[Array]:
    """The frames, uint8 (height, width, 3), in order; `wanted` names some of them by number.

    `keyframe(i)` gives the keyframe i, from 0 to `hops.count`; two of them are in memory at a time.
    """
    kept = lru_cache(2)(keyframe)
    for number in range(camera.count) if wanted is None else wanted:
        place = camera.position(number) * hops.count
        level = min(int(place), hops.count - 1)
        yield _frame(kept(level), kept(level + 1), hops, place - level)


def _frame(inner: Array, outer: Array, hops: Hops, place: float) -> Array:
    """The view between two keyframes: the inner one at `place` 0, the outer one at 1."""
    if place in (0, 1):
        return outer if place else inner
    from PIL import Image

    size = hops.width, hops.height
    axes = [_axis(side, at, shown, place) for side, (at, shown) in zip(size, hops.inner, strict=True)]
    crop = axes[0].first, axes[1].first, axes[0].last, axes[1].last
    pixels = np.asarray(Image.fromarray(outer).resize(size, Image.Resampling.LANCZOS, crop))
    (left, right), (top, bottom) = (axis.covered for axis in axes)
    (low_x, high_x), (low_y, high_y) = (axis.source for axis in axes)
    box = low_x, low_y, high_x, high_y
    wide = Image.fromarray(np.pad(inner, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge"))
    near = np.asarray(wide.resize((right - left, bottom - top), Image.Resampling.LANCZOS, box))
    weights = [axis.weights(hops.mask_expand) for axis in axes]
    weight = np.minimum(weights[0][None, :], weights[1][:, None])[..., None]
    mixed, inside = pixels.astype(np.float32), (slice(top, bottom), slice(left, right))
    mixed[inside] += (near - mixed[inside]) * weight
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Axis:
    """One direction of a frame: which part of the outer keyframe it shows, and where the inner one lies in it."""

    side: int
    first: float
    last: float
    begin: float
    end: float

    @property
    def covered(self) -> tuple[int, int]:
        """The pixels that the inner keyframe touches."""
        return max(0, math.floor(self.begin)), min(self.side, math.ceil(self.end))

    @property
    def source(self) -> tuple[float, float]:
        """What of the inner keyframe those pixels show, when its edges are repeated for `MARGIN` pixels."""
        low, high = (MARGIN + (at - self.begin) / (self.end - self.begin) * self.side for at in self.covered)
        return low, high

    def weights(self, band: int) -> Array:
        """Of the inner keyframe, rising from its edge over what the model painted anew there, float32."""
        low, high = self.covered
        at = np.arange(low, high) + 0.5
        enlarged = band * self.side / (self.last - self.first)
        rises = []
        # Where the edge meets the frame's there is no band, so that a keyframe is passed without a jump.
        for distance, room in ((at - self.begin, self.begin), (self.end - at, self.side - self.end)):
            rise = np.clip(distance / max(1e-3, min(enlarged, room)), 0, 1)
            rises.append(rise * rise * (3 - 2 * rise))
        return np.minimum(*rises).astype(np.float32)


def _axis(side: int, at: int, shown: int, place: float) -> _Axis:
    """The part of `side` pixels that is seen at `place`, when the inner keyframe lies at `at`, `shown` pixels wide.

    The view grows exponentially around the point that both keyframes show at the same place.
    """
    ratio = shown / side
    centre = at / (1 - ratio)
    seen = side * ratio ** (1 - place)
    first = centre * (1 - seen / side)
    grown = side / seen
    return _Axis(side, first, first + seen, (at - first) * grown, (at + shown - first) * grown)
