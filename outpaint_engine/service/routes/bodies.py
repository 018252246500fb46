"""Taking bodies in under their limits: how many at one time, how large, how slow, and how often in vain."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request

from ..configuration import Configuration
from ..queue.admission import whole_seconds
from ..refusals import IntakeFull, Refusal, SlowBody, TooCostly, TooLarge, TooManyRequests

__all__ = ["Bodies"]

T = TypeVar("T")
MINUTE = 60.0
GRACE_SECONDS = 5.0
"""Before a body must come at its least rate."""
COSTLY = 15
"""Refused bodies that one counts as whose picture had to be given up."""


class Bodies:
    """What is being taken in, and how many bodies of the last minute were refused, by account.

    Of this process, and for one event loop: nothing here locks.
    """

    def __init__(self, configuration: Configuration, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = configuration, clock
        self._open: Counter[str] = Counter()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._decoders = asyncio.Semaphore(configuration.decoders)
        # Threads of their own: reading a picture by URL is mostly waiting, and nobody else should wait for it.
        self._threads = CapacityLimiter(configuration.concurrent_bodies)
        most = configuration.requests_per_minute
        self._refused: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=most))

    @asynccontextmanager
    async def reading(self, request: Request, owner: str) -> AsyncIterator[bytearray]:
        """A body and a slot to work on it in; a refusal in the block counts as one of the account's.

        Raises:
            Refusal: too many bodies are open or were refused, or this one is too large or too slow.
        """
        self._check_refused(owner)
        limits = self._limits
        if self._open[owner] >= limits.account_bodies or self._open.total() >= limits.concurrent_bodies:
            raise IntakeFull(retry_after=limits.retry_after)
        self._open[owner] += 1
        try:
            yield await self._read(request)
        except Refusal as refusal:
            self._refused[owner].extend([self._clock()] * (COSTLY if isinstance(refusal, TooCostly) else 1))
            raise
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    async def work(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function in a thread that only bodies use."""
        return await run_sync(function, *arguments, limiter=self._threads)

    @asynccontextmanager
    async def decoder(self, owner: str) -> AsyncIterator[None]:
        """A place at a decoder: each account has one at a time, and they take turns."""
        async with self._turns[owner], self._decoders:
            yield

    def _check_refused(self, owner: str) -> None:
        times, most = self._refused[owner], self._limits.requests_per_minute
        if len(times) == most and (left := times[0] + MINUTE - self._clock()) > 0:
            raise TooManyRequests(most=most, retry_after=whole_seconds(left))

    async def _read(self, request: Request) -> bytearray:
        limit, seconds = self._limits.max_body_bytes, self._limits.body_seconds
        said = request.headers.get("content-length", "0")
        if said.isdecimal() and int(said) > limit:
            raise TooLarge(what="The body", limit=limit)
        body, now = bytearray(), asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout_at(began + min(seconds, GRACE_SECONDS)) as patience:
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limit:
                        raise TooLarge(what="The body", limit=limit)
                    body += chunk
                    earned = GRACE_SECONDS + len(body) / (self._limits.body_rate or 1)
                    patience.reschedule(began + min(seconds, earned))
        except TimeoutError as error:
            raise SlowBody(seconds=now() - began) from error
        return body
