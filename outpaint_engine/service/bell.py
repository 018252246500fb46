"""Wakes who waits for a job when it ends, or makes a step, in this process; the store is asked as well, but seldom."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Bell"]


class _Waiting(NamedTuple):
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event
    for_steps: bool


class Bell:
    """Events of one or several event loops, rung from worker threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[_Waiting]] = {}

    @contextmanager
    def listening(self, *jobs: str, for_steps: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set when one of the jobs ends, or makes a step if that is asked for, in the block."""
        entry = _Waiting(asyncio.get_running_loop(), asyncio.Event(), for_steps)
        with self._lock:
            for job in jobs:
                self._waiting.setdefault(job, set()).add(entry)
        try:
            yield entry.event
        finally:
            with self._lock:
                for job in jobs:
                    self._waiting[job].discard(entry)
                    if not self._waiting[job]:
                        del self._waiting[job]

    def ring(self, job: str) -> None:
        """Wake everybody who waits for this job, which has ended; from any thread."""
        self._wake(job, for_step=False)

    def step(self, job: str) -> None:
        """Wake those who wait for each step of this job; from any thread."""
        self._wake(job, for_step=True)

    def _wake(self, job: str, *, for_step: bool) -> None:
        with self._lock:
            for loop, event, for_steps in self._waiting.get(job, ()):
                if (for_steps or not for_step) and not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)
