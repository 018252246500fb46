"""What all samplers share: the model as they see it, the walk they take, and what they hand out.

A sampler is a generator function `(denoise, x, walk, *, constrain, noise)` that yields once after every model
call. It knows a model that predicts (`Denoise`), a `Walk` over the schedule, a constraint on x and where normals
come from; nothing of guidance, masks, engines or progress bars. Whoever stops iterating has cancelled the run.

Order of things, as in diffusers' inpaint pipeline: nothing is constrained before the first call; after every
call x is constrained to the level of the next one, and after the last to the clean picture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..schedule import CLEAN, Level, NoiseSchedule, Prediction, Time
from ..tensors import Array

__all__ = ["Constrain", "Denoise", "Noise", "Sampler", "Step", "Walk", "no_noise", "unconstrained"]

Denoise = Callable[[Array, Time], Prediction]
Constrain = Callable[[Array, Level], Array]
"""(x, level) -> x with the known region pinned, noised to `level`."""
Noise = Callable[[], Array]
"""Draws standard normals of x's shape."""


class Step(NamedTuple):
    """After model call `number` (from 0): the latents now, and the picture as the model sees it so far."""

    number: int
    time: Time
    x: Array
    x0: Array


@dataclass(frozen=True)
class Walk:
    """All model calls of a full run, of which those from `start` on are made (strength below 1 starts later).

    The earlier ones matter too: some samplers choose their order by the place in the full run.
    """

    schedule: NoiseSchedule
    times: tuple[Time, ...]
    start: int = 0
    noise_scale: float = 1.0
    """Standard deviation of x where a full run starts from pure noise."""

    @property
    def calls(self) -> range:
        """Indices of the calls to make."""
        return range(self.start, len(self.times))

    def held(self, index: int) -> Level:
        """The level of x at the call after `index`; clean after the last."""
        return self.times[index + 1].level if index + 1 < len(self.times) else CLEAN

    def begin(self, noise: Array, known: Array | None = None) -> Array:
        """The first x: `noise`, or where a picture is given, that picture's latents under it."""
        if known is None:
            return noise * self.noise_scale if self.noise_scale != 1 else noise
        return self.times[self.start].level.mix(known, noise)

    def step(self, index: int, x: Array, x0: Array) -> Step:
        """What to hand out after call `index`."""
        return Step(index - self.start, self.times[index], x, x0)


def unconstrained(x: Array, level: Level) -> Array:
    """No known region."""
    return x


def no_noise() -> Array:
    """For samplers that draw none."""
    raise ValueError("This sampler draws noise: give it `noise`.")


class Sampler(Protocol):
    """How every sampler is called."""

    def __call__(
        self, denoise: Denoise, x: Array, walk: Walk, *, constrain: Constrain = ..., noise: Noise = ...
    ) -> Iterator[Step]:
        """Walk from `x` to a picture."""
