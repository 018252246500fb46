"""In which model calls of a run the UNet is run whole, and what stands in for it in the others.

Everything here changes the picture: it is off unless asked for. The figures behind each choice are in docs/speed.md.
"""

from collections.abc import Container
from dataclasses import dataclass
from numbers import Integral, Real

from ..errors import RequestError
from ..samplers import Scheduler
from .forecast import whole_calls

__all__ = ["LEVELS", "Reuse", "follows"]

MOST = 10
STRONG_GUIDANCE = 5.0
STRONG_SLOPES = {"forecast": 1.2, "shallow": 0.8}
STRONG_KEPT = 0.45
"""Over several calls under strong guidance: how much of a line's slope is taken, by method, and of what guidance's
difference changes by it, which is of details, that lie on no line, and is multiplied."""
METHODS = ("forecast", "shallow")
FOLLOWING = frozenset({"DDIM", "DPM Multi", "DPM Single", "Euler"})
"""Schedulers whose pictures survive; with the others either method was measured to lose them, see docs/speed.md."""
CORRECTING = frozenset({"DDIM"})
"""Of those, what makes x of a prediction alone, as `corrected` needs it."""


@dataclass(frozen=True)
class Reuse:
    """The UNet is run whole in every `every`-th call, from the first, and in the last; 1 is every call.

    `damping` shortens the slope of the forecasts, from 0 (the latest value is used again) to 1; None takes what was
    measured best: the whole slope, but over several calls under strong guidance less of that of guidance's difference.
    `method` says what stands in for the other calls: "forecast", of the UNet's output, which was measured to be as
    good for every scheduler, and which DDIM corrects at the next whole call; or "shallow", its shallow part run on a
    forecast of the deep features.

    Raises:
        RequestError: a value leaves its range.
    """

    every: int = 1
    damping: float | None = None
    method: str = "forecast"

    def __post_init__(self) -> None:
        """Refuse what no run could do."""
        whole = isinstance(self.every, Integral) and not isinstance(self.every, bool)
        if not whole or not 1 <= self.every <= MOST:
            raise RequestError(f"every must be a whole number from 1 to {MOST}, not {self.every!r:.40}.")
        real = isinstance(self.damping, Real) and not isinstance(self.damping, bool)
        if self.damping is not None and not (real and 0 <= self.damping <= 1):
            raise RequestError(f"damping must be a number from 0 to 1, not {self.damping!r:.40}.")
        if self.method not in METHODS:
            raise RequestError(f"method must be one of {', '.join(METHODS)}, not {self.method!r:.40}.")

    def __bool__(self) -> bool:
        """Whether some calls are not whole."""
        return self.every > 1

    def slope(self, guidance_scale: float) -> float:
        """How much of a line's slope is taken."""
        if self.damping is not None:
            return self.damping
        return STRONG_SLOPES[self.method] if self._far(guidance_scale) else 1.0

    def kept(self, calls: int, whole: Container[int], guidance_scale: float) -> dict[int, float]:
        """Which share of guidance's difference's change is kept in those of a run's `calls` that are forecast."""
        if self.damping is not None or self.method != "forecast" or not self._far(guidance_scale):
            return {}
        return {call: STRONG_KEPT for call in range(calls) if call not in whole}

    def _far(self, guidance_scale: float) -> bool:
        return self.every > 2 and guidance_scale > STRONG_GUIDANCE

    def corrected_until(self, calls: int, scheduler: Scheduler, guidance_scale: float) -> int:
        """Before which of a run's `calls` whole ones correct the forecast ones before them; 0 where none does."""
        if not self or self.method != "forecast" or scheduler.name not in CORRECTING:
            return 0
        if guidance_scale <= STRONG_GUIDANCE:
            # What the last call gives is not mended by a later one, so x is left where the model was asked of it.
            return calls - 1
        # Corrections of single steps, and in the second half, lost the hardest scenes.
        return (calls + 1) // 2 if self._far(guidance_scale) else 0

    def check(self, scheduler: Scheduler, eta: float, guidance_every: int) -> None:
        """Refuse what no forecast follows, and what was measured to lose the picture.

        Raises:
            RequestError: the sampler draws noise or does not follow a forecast, or two forecasts are stacked.
        """
        if self and guidance_every > 1:
            raise RequestError("reuse and guidance_every forecast twice, which loses the picture: choose one of them.")
        if not self and guidance_every == 1:
            return
        asked = "reuse" if self else "guidance_every"
        if scheduler.random or eta:
            name = f"{scheduler.name} with eta" if eta else scheduler.name
            raise RequestError(f"{asked} needs a sampler that draws no noise in its steps; {name} does. Take DDIM.")
        if not follows(scheduler):
            raise RequestError(
                f"{asked} loses the picture with {scheduler.name}. Take one of {', '.join(sorted(FOLLOWING))}."
            )

    def check_shallow(self, has_shallow: bool) -> None:
        """Raise a `RequestError` where the engine set lacks the shallow graph that `method` asks for."""
        if self and self.method == "shallow" and not has_shallow:
            raise RequestError(
                "reuse by the shallow part needs a UNet that gives its deep features and a shallow graph that takes "
                'them, which this engine set lacks. Leave method at "forecast".'
            )

    def whole_calls(self, calls: int, guided: range) -> frozenset[int]:
        """Which of a run's `calls` are whole; guidance in the calls `guided` adds rows that no forecast knows."""
        begin = guided.start if guided else 0
        return whole_calls(range(calls), self.every) | whole_calls(range(begin, calls), self.every)

    def notes(self, whole: int, calls: int) -> list[str]:
        """What a person should know of a run with `whole` of its `calls` run whole."""
        if not self:
            return []
        others = (
            "run in its shallow part, on a forecast of the deep features," if self.method == "shallow" else "forecast"
        )
        return [
            f"reuse: the UNet was run whole in {whole} of {calls} calls and {others} in the others, so the picture "
            "differs from an exact run's. See docs/speed.md."
        ]


def follows(scheduler: Scheduler) -> bool:
    """Whether a sampler's pictures survive forecasts."""
    return scheduler.name in FOLLOWING


LEVELS = {"off": Reuse(), "careful": Reuse(2), "fast": Reuse(3)}
