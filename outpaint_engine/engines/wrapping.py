"""Pictures that go on at their other side, on graphs that know nothing of it.

What goes in is continued by a margin from its other side, and the margin is cut off what comes out. A margin smaller
than what the network sees leaves a trace at the joint; where a picture passes through many calls, it is turned a little
further before each one and back after it, so that no place is always the joint.
"""

from collections.abc import Collection, Mapping

import numpy as np

from ..tensors import Array
from .base import Engine, EngineDecorator

__all__ = ["WrappingEngine"]

TURN = 0.618
"""Of a side, at each call: the golden ratio spreads the joints evenly, however many calls there are."""


class WrappingEngine(EngineDecorator):
    """Wraps the 4-D inputs and outputs of `engine` in the directions `wrap` ("x", "y" or "xy").

    `margin` is in places of the inputs; `turning` engines turn before each call. Use one for one run.
    """

    def __init__(self, engine: Engine, wrap: str, margin: int, turning: bool = False) -> None:
        super().__init__(engine)
        self._margins = [margin if direction in wrap else 0 for direction in "yx"]
        self._turning, self._calls = turning, 0

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Continue, run, cut."""
        share = self._calls * TURN % 1 if self._turning else 0.0
        self._calls += 1
        spatial = {name: value for name, value in feeds.items() if value.ndim == 4}
        height, width = next(iter(spatial.values())).shape[2:]
        turn = [int(share * side) if margin else 0 for side, margin in zip((height, width), self._margins, strict=True)]
        margins = [(0, 0), (0, 0), *((margin, margin) for margin in self._margins)]
        wrapped = {name: np.pad(np.roll(value, turn, (2, 3)), margins, mode="wrap") for name, value in spatial.items()}
        answers = self.engine.run({**feeds, **wrapped}, wanted)
        return {name: self._cut(value, height, turn) if value.ndim == 4 else value for name, value in answers.items()}

    def _cut(self, value: Array, height: int, turn: list[int]) -> Array:
        """Without the margin, and turned back; an output may have 8 times, or an eighth of, the input's places."""
        places = value.shape[2] / (height + 2 * self._margins[0])
        rows, columns = (round(margin * places) for margin in self._margins)
        cut = value[:, :, rows : value.shape[2] - rows, columns : value.shape[3] - columns]
        return np.roll(cut, [-round(each * places) for each in turn], (2, 3))
