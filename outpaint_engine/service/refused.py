"""How often an account was refused lately: what it costs to read bad bodies is bounded like what it costs to run."""

import time
from collections import defaultdict, deque
from collections.abc import Callable

from .answers import Refusal

__all__ = ["Refused", "too_many"]

MINUTE = 60.0


class Refused:
    """The refused bodies of the last minute, by account; of this process, and forgotten with it.

    For one event loop: nothing here waits or locks.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=most))

    def check(self, owner: str) -> None:
        """Raises a Refusal with 429 where `most` bodies of this account were refused within a minute."""
        times = self._times[owner]
        if len(times) == self._most and (left := next(iter(times)) + MINUTE - self._clock()) > 0:
            raise too_many(self._most, left)

    def note(self, owner: str) -> None:
        """Count a refusal."""
        self._times[owner].append(self._clock())


def too_many(most: int, left: float) -> Refusal:
    """429; `left` is how many seconds until the oldest of `most` requests is a minute old."""
    return Refusal(429, f"More than {most} requests a minute.", "rate", max(1, round(left + 0.5)))
