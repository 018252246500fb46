"""Holding the line for jobs that somebody waits for: until they end, take too long, or the client hangs up."""

import asyncio
import logging
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..queue.tables import Job, Reason
from ..refusals import Unknown, failed_job
from .caller import Service

__all__ = [
    "LOOK_SECONDS",
    "SAFETY",
    "Line",
    "ended",
    "give_up",
    "hung_up",
    "nobody",
    "picture_of",
    "safety_header",
    "woken",
]

log = logging.getLogger("outpaint_engine.service")

GONE = 499
"""Nobody reads this answer: the client has hung up."""
HUNG_UP = (
    "A client hung up after %.0f s, and its run was cancelled. Where pictures take longer than clients wait "
    "(Segmind's run_sync: 30 s), they need /v2, fewer steps or a smaller canvas."
)
LEFT, TOO_LONG = "The client hung up. Nothing was charged.", "The picture took too long. Nothing was charged."
LOOK_SECONDS = 1.0
SAFETY = "x-safety-flagged"


async def ended(request: Request, service: Service, jobs: Sequence[Job]) -> list[Job] | None:
    """Wait for the jobs of one request; None where the client hung up, and they were cancelled.

    Raises:
        Unknown: one is no longer kept.
    """
    leaving = asyncio.create_task(hung_up(request))
    line = Line(service, jobs)
    try:
        with service.workers.bell.listening(*(job.id for job in jobs)) as rung:
            while not await line.ended():
                if leaving.done():
                    await line.leave()
                    return None
                await woken(rung, leaving, line.look_seconds)
        return line.jobs
    finally:
        leaving.cancel()


class Line:
    """The jobs that one request waits for, as they were when last looked at."""

    def __init__(self, service: Service, jobs: Sequence[Job]) -> None:
        self._service, self.jobs = service, list(jobs)
        self._now = asyncio.get_running_loop().time
        self._began = self._heard = self._now()
        self.look_seconds = min(LOOK_SECONDS, service.configuration.awaited_seconds / 3)

    @property
    def waited(self) -> float:
        """Seconds since it began."""
        return self._now() - self._began

    async def ended(self) -> bool:
        """See whether the jobs have ended, give up those that take too long, and say that others are waited for.

        Raises:
            Unknown: one is no longer kept.
        """
        service, limits = self._service, self._service.configuration
        self.jobs = [job if job.ended else await self._found(job) for job in self.jobs]
        if self.waited > limits.inline_seconds:
            self.jobs = await give_up(service, self.jobs, "timeout", TOO_LONG)
        elif self._now() - self._heard >= 0.9 * limits.awaited_seconds / 3:
            self._heard = self._now()
            for job in self.jobs:
                if not job.ended:
                    await run_in_threadpool(service.jobs.keep_awaiting, job.id)
        return all(job.ended for job in self.jobs)

    async def leave(self) -> None:
        """The client has hung up: nobody will read the answer."""
        log.warning(HUNG_UP, self.waited)
        await give_up(self._service, self.jobs, "cancelled", LEFT)

    async def _found(self, job: Job) -> Job:
        found = await run_in_threadpool(self._service.jobs.find, job.owner, job.id)
        if found is None:
            raise Unknown
        return found


async def give_up(service: Service, jobs: Sequence[Job], reason: Reason, sentence: str) -> list[Job]:
    """Cancel those of the jobs that have not ended; returns them all as they are afterwards."""

    def cancelled(job: Job) -> Job:
        return service.jobs.cancel(job.owner, job.id, reason, sentence) or job

    return [job if job.ended else await run_in_threadpool(cancelled, job) for job in jobs]


async def hung_up(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def woken(rung: asyncio.Event, leaving: asyncio.Task[None], seconds: float) -> None:
    """Wait for either, and for `seconds` at most: the job may end in another process."""
    ring = asyncio.create_task(rung.wait())
    await asyncio.wait({ring, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    ring.cancel()
    rung.clear()


def picture_of(service: Service, job: Job) -> bytes:
    """The file of a job that has ended.

    Raises:
        Refusal: it failed, or the file is no longer kept.
    """
    if job.state != "COMPLETED":
        refusal = failed_job(job.reason, job.error or "", service.configuration.retry_after)
        refusal.headers["x-request-id"] = job.id
        raise refusal
    content = service.files.read(job.result or "", f".{job.format}")
    if content is None:
        raise Unknown
    return content


def safety_header(service: Service, *results: str | None) -> dict[str, str]:
    """Whether the safety checker flagged one of these results, for an answer; nothing where it did not look."""
    if service.configuration.safety == "off":
        return {}
    found = [flagged for name in results if (flagged := service.files.flagged(name or "")) is not None]
    return {SAFETY: str(any(found)).lower()} if found else {}


def nobody() -> Response:
    """The answer that nobody reads."""
    return Response(status_code=GONE)
