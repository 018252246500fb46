"""Reading a body under its limits: how many at one time, how large, how slow, and how often in vain."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request

from ..configuration import Configuration
from ..queue.jobs import whole_seconds
from ..refusals import Refusal, SlowBody, TooLarge, TooManyRequests

__all__ = ["Bodies"]

MINUTE = 60.0


class Bodies:
    """What is being read, and how many bodies of the last minute were refused, by account.

    Of this process, and for one event loop: nothing here locks.
    """

    def __init__(self, configuration: Configuration, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = configuration, clock
        self._slots = asyncio.Semaphore(configuration.concurrent_bodies)
        most = configuration.requests_per_minute
        self._refused: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=most))

    @asynccontextmanager
    async def reading(self, request: Request, owner: str) -> AsyncIterator[bytearray]:
        """A body and a slot to work on it in; a refusal in the block counts as one of the account's.

        Raises:
            Refusal: too many bodies of this account were refused, or this one is too large or too slow.
        """
        self._check_refused(owner)
        async with self._slots:
            try:
                yield await self._read(request)
            except Refusal:
                self._refused[owner].append(self._clock())
                raise

    def _check_refused(self, owner: str) -> None:
        times, most = self._refused[owner], self._limits.requests_per_minute
        if len(times) == most and (left := times[0] + MINUTE - self._clock()) > 0:
            raise TooManyRequests(most=most, retry_after=whole_seconds(left))

    async def _read(self, request: Request) -> bytearray:
        limit, seconds = self._limits.max_body_bytes, self._limits.body_seconds
        said = request.headers.get("content-length", "0")
        if said.isdecimal() and int(said) > limit:
            raise TooLarge(what="The body", limit=limit)
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limit:
                        raise TooLarge(what="The body", limit=limit)
                    body += chunk
        except TimeoutError as error:
            raise SlowBody(seconds=seconds) from error
        return body
