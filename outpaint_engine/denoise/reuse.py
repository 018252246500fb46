"""In which model calls of a run the UNet is run whole, and what stands in for it in the others.

Everything here changes the picture: it is off unless asked for. The figures behind each choice are in docs/speed.md.
"""

from dataclasses import dataclass
from numbers import Integral, Real

from ..errors import RequestError
from ..samplers import Scheduler
from .forecast import forecast
from .prediction import Predict

__all__ = ["LEVELS", "Reuse"]

MOST = 10
FORECAST = frozenset({"DDIM", "Euler"})
"""Schedulers whose steps follow a forecast of the UNet's output well."""


@dataclass(frozen=True)
class Reuse:
    """The UNet is run whole in every `every`-th call, and in the first two; 1 is every call.

    `damping` shortens the slope of the forecasts, from 0 (the latest value is used again) to 1; None takes what was
    measured best for the guidance scale.

    Raises:
        RequestError: a value leaves its range.
    """

    every: int = 1
    damping: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could do."""
        whole = isinstance(self.every, Integral) and not isinstance(self.every, bool)
        if not whole or not 1 <= self.every <= MOST:
            raise RequestError(f"every must be a whole number from 1 to {MOST}, not {self.every!r:.40}.")
        real = isinstance(self.damping, Real) and not isinstance(self.damping, bool)
        if self.damping is not None and not (real and 0 <= self.damping <= 1):
            raise RequestError(f"damping must be a number from 0 to 1, not {self.damping!r:.40}.")

    def __bool__(self) -> bool:
        """Whether some calls are not whole."""
        return self.every > 1

    def damping_at(self, guidance_scale: float) -> float:
        """The damping that applies; guidance multiplies a forecast's error, so that strong guidance is damped."""
        if self.damping is not None:
            return self.damping
        return 1.0

    def check(self, scheduler: Scheduler, eta: float) -> None:
        """Refuse the samplers whose steps a forecast does not follow.

        Raises:
            RequestError: the sampler draws noise in its steps, or was measured to lose the picture.
        """
        if not self:
            return
        if scheduler.random or eta:
            raise RequestError(
                f"reuse needs steps that draw no noise, which no forecast knows: leave it off with "
                f"{scheduler.name}{' and eta' if eta else ''}, or take {' or '.join(sorted(FORECAST))}."
            )
        if scheduler.name not in FORECAST:
            raise RequestError(
                f"reuse is for {', '.join(sorted(FORECAST))}; with {scheduler.name} it loses too much of the picture."
            )

    def whole_calls(self, calls: int, guided: range) -> frozenset[int]:
        """Which of a run's `calls` are whole; guidance in the calls `guided` adds rows that no forecast knows."""
        begins = sorted({0, guided.start if guided else 0, calls})
        return frozenset(
            call
            for begin, end in zip(begins, begins[1:], strict=False)
            for call in (begin, *range(begin + 1, end, self.every))
        )

    def applied(self, predict: Predict, whole: frozenset[int], guidance_scale: float) -> Predict:
        """`predict` with this reuse, for one run whose calls `whole` are whole."""
        return forecast(predict, whole, self.damping_at(guidance_scale)) if self else predict

    def notes(self, whole: int, calls: int) -> list[str]:
        """What a person should know of a run with `whole` of its `calls` run whole."""
        if not self:
            return []
        return [
            f"reuse: the UNet was run whole in {whole} of {calls} calls and forecast in the others, so the picture "
            "differs from an exact run's. See docs/speed.md."
        ]


LEVELS = {"off": Reuse(), "careful": Reuse(2), "fast": Reuse(3)}
