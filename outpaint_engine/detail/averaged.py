"""What the model says of tiles, averaged to one prediction for all of them (MultiDiffusion)."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..tensors import Array
from .tiles import Tile

__all__ = ["Averaged"]


class Averaged:
    """The averaged prediction of tiles (Bar-Tal et al. 2023, arXiv 2302.08113, equation (5), with ramps as weights).

    `predict` takes several tiles at once, (tiles, channels, h, w), and a timestep; `shown` is what 9-channel models see
    beside x, (1, 5, h, w), or nothing. What no tile covers is predicted as 0.

    `steps` runs tile by tile, so that a caller can report or stop between two; `predict` afterwards, asked for the same
    x and timestep, knows the answer.
    """

    def __init__(
        self,
        predict: Callable[[Array, float], Array],
        tiles: Sequence[Tile],
        shown: Array | None,
        together: int,
    ) -> None:
        self._predict, self._shown = predict, shown
        self._groups = [tiles[at : at + together] for at in range(0, len(tiles), together)]
        self._known: tuple[Array, float, Array] | None = None

    @property
    def calls(self) -> int:
        """Model calls of one prediction."""
        return len(self._groups)

    def steps(self, x: Array, t: float) -> Iterator[None]:
        """Predict; pauses after each model call."""
        total, weights = np.zeros_like(x), np.zeros(x.shape[2:], np.float32)
        seen = x if self._shown is None else np.concatenate([x, self._shown], axis=1)
        for group in self._groups:
            answers = self._predict(np.concatenate([seen[..., *tile.index] for tile in group]), t)
            for tile, answer in zip(group, answers, strict=True):
                total[..., *tile.index] += tile.weights * answer
                weights[tile.index] += tile.weights
            yield
        self._known = x, t, total / np.where(weights > 0, weights, 1)

    def predict(self, x: Array, t: float) -> Array:
        """The averaged prediction, (1, 4, h, w)."""
        if self._known is None or self._known[1] != t or not np.array_equal(self._known[0], x):
            for _ in self.steps(x, t):
                pass
        assert self._known is not None
        return self._known[2]
