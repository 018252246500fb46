"""Draws the landscape posters that the demo model learns from, each with its caption.

A scene is a handful of numbers (`Scene`); `draw` turns it into pixels of any size, so the same scene can
be a training picture, a held-out test picture or the example in the README. Everything follows from one
seed. No file is read and nothing is downloaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Floats = NDArray[np.float32]


class Palette(NamedTuple):
    """The colours of one time of day, as sRGB in [0, 255]."""

    zenith: Colour
    horizon: Colour
    light: Colour
    cloud: Colour
    far: Colour
    near: Colour


TIMES: dict[str, Palette] = {
    "dawn": Palette((126, 132, 196), (255, 214, 196), (255, 240, 214), (244, 200, 206), (196, 160, 186), (84, 70, 112)),
    "day": Palette((62, 142, 222), (206, 234, 246), (255, 250, 214), (255, 255, 255), (150, 190, 196), (40, 104, 70)),
    "sunset": Palette((112, 48, 110), (255, 158, 64), (255, 226, 120), (232, 104, 92), (204, 92, 72), (66, 22, 44)),
    "night": Palette((8, 12, 38), (44, 66, 116), (236, 240, 250), (50, 62, 100), (34, 48, 86), (6, 10, 26)),
}
HELD_OUT_SEED = 1_000_003
"""Seed of scenes that no part of the model was trained on."""
KINDS = ("mountains", "hills", "dunes", "forest", "sea")
DUNE_SAND: Colour = (222, 176, 112)
SEA_WATER: Colour = (40, 110, 150)


@dataclass(frozen=True)
class Scene:
    """One poster. Positions are fractions of the picture's height, so that a wider canvas shows more of it."""

    seed: int
    time: str
    kind: str
    disc: bool
    clouds: bool

    @property
    def caption(self) -> str:
        """Such as "sunset mountains with sun and clouds"."""
        extras = [("moon" if self.time == "night" else "sun") if self.disc else "", "clouds" if self.clouds else ""]
        named = " and ".join(extra for extra in extras if extra)
        return f"{self.time} {self.kind}" + (f" with {named}" if named else "")


def scenes(seed: int, count: int) -> Iterator[Scene]:
    """Yield `count` scenes; every time of day and kind comes equally often."""
    rng = np.random.default_rng(seed)
    combinations = [(time, kind) for time in TIMES for kind in KINDS]
    for index in range(count):
        time, kind = combinations[index % len(combinations)]
        yield Scene(int(rng.integers(2**31)), time, kind, bool(rng.random() < 0.65), bool(rng.random() < 0.5))


def draw(scene: Scene, width: int = 256, height: int = 256) -> NDArray[np.uint8]:
    """Return the scene as sRGB pixels, shape (height, width, 3)."""
    rng = np.random.default_rng(scene.seed)
    palette = TIMES[scene.time]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    horizon = float(rng.uniform(0.5, 0.68))
    picture = _sky(palette, y, horizon)
    if scene.time == "night":
        _stars(picture, rng, horizon)
    disc_x, disc_y = float(rng.uniform(0.1, 0.9)) * width / height, horizon - float(rng.uniform(0.12, 0.4))
    if scene.disc:
        _disc(picture, palette, x, y, (disc_x, disc_y, float(rng.uniform(0.045, 0.08))))
    if scene.clouds:
        _clouds(picture, palette, rng, x, y, horizon)
    if scene.kind == "sea":
        _sea(picture, palette, rng, x, y, horizon, disc_x if scene.disc else None)
    _ridges(picture, scene, rng, x, y, horizon)
    return (np.clip(picture, 0, 255) + 0.5).astype(np.uint8)


def _mix(a: Colour | Floats, b: Colour | Floats, share: Floats | float) -> Floats:
    return np.asarray(a, np.float32) * (1 - np.asarray(share, np.float32)) + np.asarray(b, np.float32) * share


def _paint(picture: Floats, colour: Colour | Floats, alpha: Floats) -> None:
    picture += (np.asarray(colour, np.float32) - picture) * alpha[..., None]


def _sky(palette: Palette, y: Floats, horizon: float) -> Floats:
    share = np.clip(y / horizon, 0, 1) ** 1.3
    return _mix(palette.zenith, palette.horizon, share[..., None]).astype(np.float32)


def _stars(picture: Floats, rng: np.random.Generator, horizon: float) -> None:
    height, width, _ = picture.shape
    for _ in range(int(36 * width / height)):
        row, column = int(rng.uniform(0, horizon * 0.8) * height), int(rng.uniform(0, width - 1))
        picture[row : row + 2, column : column + 2] += np.float32(rng.uniform(60, 150))


def _disc(picture: Floats, palette: Palette, x: Floats, y: Floats, disc: tuple[float, float, float]) -> None:
    centre_x, centre_y, radius = disc
    distance = np.hypot(x - centre_x, y - centre_y)
    _paint(picture, palette.light, 0.55 * np.exp(-((distance / (radius * 2.6)) ** 2)))
    _paint(picture, palette.light, _edge(radius - distance, picture))


def _edge(signed_distance: Floats, picture: Floats) -> Floats:
    """Coverage of a pixel whose centre lies `signed_distance` heights inside a shape: antialiased over 1.5 px."""
    return np.clip(signed_distance * picture.shape[0] / 1.5 + 0.5, 0, 1)


def _clouds(picture: Floats, palette: Palette, rng: np.random.Generator, x: Floats, y: Floats, horizon: float) -> None:
    span = picture.shape[1] / picture.shape[0]
    for _ in range(max(2, round(3 * span))):
        centre_x, centre_y = rng.uniform(0, span), rng.uniform(0.08, horizon * 0.7)
        length = rng.uniform(0.12, 0.26)
        puffs = [
            length * 0.34 * np.sqrt(max(0.05, 1 - (offset / 1.1) ** 2))
            - np.hypot(x - centre_x - offset * length, y - centre_y)
            for offset in np.linspace(-0.85, 0.85, 5) + rng.uniform(-0.1, 0.1, 5)
        ]
        body = np.minimum(np.max(puffs, axis=0), centre_y + length * 0.12 - y)
        _paint(picture, palette.cloud, 0.85 * np.clip(body * picture.shape[0] / 3 + 0.5, 0, 1))


def _sea(
    picture: Floats,
    palette: Palette,
    rng: np.random.Generator,
    x: Floats,
    y: Floats,
    horizon: float,
    light_x: float | None,
) -> None:
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    water = _mix(_mix(palette.horizon, palette.far, 0.35), _mix(palette.near, SEA_WATER, 0.25), depth[..., None] ** 0.7)
    _paint(picture, water, _edge(y - horizon, picture))
    waves = np.sin(2 * np.pi * (np.sqrt(depth + 0.02) * 11 + 0.35 * np.sin(2 * np.pi * (x * 1.3 + rng.random()))))
    _paint(picture, palette.light, 0.10 * (waves > 0.55) * (depth > 0.03))
    if light_x is not None:
        path = np.exp(-(((x - light_x) / (0.05 + 0.12 * depth)) ** 2)) * (depth > 0)
        _paint(picture, palette.light, path * (0.25 + 0.35 * (waves > 0)))


def _profile(kind: str, rng: np.random.Generator, x: Floats) -> Floats:
    """Height of a ridge over x, in [-1, 1], one value per column."""
    line = x[0].astype(np.float64)
    if kind == "mountains":
        knots = np.arange(-1, line[-1] + 1.2, 0.19)
        knots = knots + rng.uniform(-0.06, 0.06, len(knots))
        peaks = np.where(
            np.arange(len(knots)) % 2, rng.uniform(0.3, 1, len(knots)), rng.uniform(-0.9, -0.1, len(knots))
        )
        return np.interp(line, knots, peaks).astype(np.float32)
    waves = {"hills": (0.55, 1.2), "dunes": (0.45, 0.9), "forest": (0.7, 1.3), "sea": (0.5, 0.8)}[kind]
    profile = np.zeros_like(line)
    for weight, frequency in ((0.7, waves[0]), (0.3, 2.2 * waves[1])):
        profile += weight * np.sin(2 * np.pi * (frequency * line * rng.uniform(0.8, 1.25) + rng.random()))
    if kind == "dunes":
        profile = 1 - 2 * np.abs(profile) ** 0.8
    return profile.astype(np.float32)


def _ridges(picture: Floats, scene: Scene, rng: np.random.Generator, x: Floats, y: Floats, horizon: float) -> None:
    palette = TIMES[scene.time]
    layers = 1 if scene.kind == "sea" else 4 if scene.kind == "forest" else 3
    far, near = palette.far, palette.near
    if scene.kind == "dunes":
        dark = 0.75 if scene.time == "night" else 0.35
        far = tuple(_mix(DUNE_SAND, palette.far, dark + 0.1).astype(int))
        near = tuple(_mix(_mix(DUNE_SAND, palette.near, dark), palette.near, 0.25).astype(int))
    for layer in range(layers):
        share = layer / (layers - 1) if layers > 1 else 0.5
        if scene.kind == "sea":
            base, height = horizon + 0.02, 0.07
            coast = _profile("sea", rng, x) * height - 0.02
            top = base - np.clip(coast, -0.02, None)
            _paint(picture, palette.far, _edge(np.minimum(y - top[None], horizon + 0.012 - y), picture))
            continue
        base = horizon + share * (0.9 - horizon)
        height = {"mountains": 0.16 - 0.06 * share, "hills": 0.06, "dunes": 0.07, "forest": 0.04}[scene.kind]
        top = base - height * _profile(scene.kind, rng, x)
        colour = _mix(far, near, share)
        shade = _mix(
            _mix(colour, palette.horizon, 0.22),
            colour,
            np.clip((y - top[None]) / 0.3, 0, 1)[..., None].astype(np.float32),
        )
        if scene.kind == "forest":
            top = top - _trees(rng, x[0], 0.05 + 0.07 * share)
        _paint(picture, shade, _edge(y - top[None], picture))


def _trees(rng: np.random.Generator, line: Floats, size: float) -> Floats:
    """Height of a row of conifers over x: overlapping triangles of different size."""
    top = np.zeros_like(line)
    centre = -size
    while centre < line[-1] + size:
        tall, wide = size * rng.uniform(0.6, 1.15), size * rng.uniform(0.45, 0.6)
        top = np.maximum(top, tall * np.clip(1 - np.abs(line - centre) / wide, 0, 1))
        centre += wide * rng.uniform(0.8, 1.5)
    return top
