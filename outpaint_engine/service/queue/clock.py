"""A clock that never jumps: leases, links and limits are measured with it."""

import threading
import time
from collections.abc import Callable

__all__ = ["SteadyClock"]

SLEW = 0.01
"""Seconds that it catches up in a second: a clock that was set by an hour is followed within four days."""


class SteadyClock:
    """Unix seconds that follow the machine's clock, and go on evenly where somebody sets that one.

    Without it a step forward would end every lease, and a step back would keep each for as long.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._now, self._read = wall(), monotonic()

    def __call__(self) -> float:
        """The time now."""
        with self._lock:
            read = self._monotonic()
            passed, self._read = read - self._read, read
            ahead = self._wall() - (self._now + passed)
            self._now += passed + max(-SLEW * passed, min(SLEW * passed, ahead))
            return self._now
