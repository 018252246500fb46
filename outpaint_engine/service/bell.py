"""Wakes a waiting answer the moment its job ends in this process; the store is asked as well, but seldom."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Bell"]


class Bell:
    """Events of one or several event loops, rung from worker threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    @contextmanager
    def listening(self, job: str) -> Iterator[asyncio.Event]:
        """An event that `ring(job)` sets, while the block runs."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.setdefault(job, set()).add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                left = self._waiting[job] - {entry}
                self._waiting[job] = left
                if not left:
                    del self._waiting[job]

    def ring(self, job: str) -> None:
        """Wake everybody who waits for this job; from any thread."""
        with self._lock:
            for loop, event in self._waiting.get(job, ()):
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)
