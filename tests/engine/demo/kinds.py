"""A small classifier that names a picture's kind, trained on true scenes: does the painting show what was asked for?"""

import numpy as np
from demo_model.scenes import HELD_OUT_SEED, KINDS, draw, scenes

Array = np.ndarray

SIDE = 256
CELLS, DIRECTIONS = 16, 8
"""Histograms of edge directions (Dalal and Triggs 2005) in CELLS x CELLS cells; and mean colours in fewer."""
COLOUR_CELLS, COLOUR_WEIGHT = 8, 3.0
SCENES, SEED = 500, HELD_OUT_SEED + 2
RIDGE = 0.03


def known_middle(margin: int = 0) -> Array:
    """Bool (SIDE, SIDE): the middle quarter of the picture, which is given, and `margin` pixels around it."""
    known = np.zeros((SIDE, SIDE), bool)
    inside = slice(SIDE // 4 - margin, 3 * SIDE // 4 + margin)
    known[inside, inside] = True
    return known


class KindClassifier:
    """Kernel ridge regression to the five kinds; it sees only what lies outside the middle quarter."""

    def __init__(self, count: int = SCENES) -> None:
        chosen = list(scenes(SEED, count))
        self._known = np.stack([_features(draw(scene, SIDE, SIDE)) for scene in chosen])
        wanted = np.array([[scene.kind == kind for kind in KINDS] for scene in chosen], np.float64)
        distances = _distances(self._known, self._known)
        self._spread = float(np.median(distances)) / 2
        self._weights = np.linalg.solve(np.exp(-distances / self._spread) + RIDGE * np.eye(count), wanted)

    def kind(self, picture: Array) -> str:
        """The kind that the painted part of `picture` (SIDE, SIDE, 3) looks most like."""
        distances = _distances(_features(picture)[None], self._known)
        return KINDS[int((np.exp(-distances / self._spread) @ self._weights).argmax())]


def _features(picture: Array) -> Array:
    """Edges by place and direction, as shares of their row of cells, so that soft ones count too; and colours."""
    levels = np.asarray(picture, np.float32)
    grey = levels.mean(axis=2)
    down, across = np.gradient(grey)
    # Edges of what is given would be half of what is seen at its border.
    hidden = known_middle(margin=2)
    strength = np.where(hidden, 0, np.hypot(across, down))
    direction = ((np.arctan2(down, across) / np.pi % 1) * DIRECTIONS).astype(int) % DIRECTIONS
    edges = np.stack([_pooled(np.where(direction == index, strength, 0), CELLS) for index in range(DIRECTIONS)])
    edges = np.sqrt(edges / (edges.sum(axis=(0, 2), keepdims=True) + 0.2))
    colours = np.stack([_pooled(np.where(hidden, 0, levels[..., i]), COLOUR_CELLS) for i in range(3)]) / 255
    return np.concatenate([edges.ravel(), edges.mean(axis=2).ravel() * CELLS**0.5, COLOUR_WEIGHT * colours.ravel()])


def _pooled(values: Array, cells: int) -> Array:
    size = SIDE // cells
    return values.reshape(cells, size, cells, size).mean(axis=(1, 3), dtype=np.float64)


def _distances(first: Array, second: Array) -> Array:
    """Squared distances of every row to every row."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
    return np.clip(squares - 2 * first @ second.T, 0, None)
