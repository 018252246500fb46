"""Whether one more job may wait: so many a minute, so many waiting, and no longer than somebody would wait for it.

How long a job would wait is estimated from what waits before it, in the fair order in which `leases.py` claims, and
from the pace of the last jobs that ended.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..configuration import Configuration
from ..refusals import AccountQueueFull, QueueFull, TooManyRequests
from .tables import Job

__all__ = ["Admission", "pace", "whole_seconds"]

LATELY = 20
"""Ended jobs that the pace is taken from."""


class Waiting(NamedTuple):
    """The jobs of one account that wait, and the work in them."""

    jobs: int = 0
    work: float = 0.0


class Admission:
    """Checks a submission inside a transaction."""

    def __init__(self, configuration: Configuration, clock: Callable[[], float]) -> None:
        self._limits, self._clock = configuration, clock

    def check(self, session: Session, owner: str, *, awaited: bool) -> None:
        """Look at what this account and all others have in the queue.

        Raises:
            Refusal: too much is asked for; Retry-After says when it should be different.
        """
        self._check_rate(session, owner)
        limits, queue = self._limits, _queue(session)
        mine = queue.get(owner, Waiting())
        seconds = self._seconds_before(session, owner, queue)
        if mine.jobs >= limits.account_queued:
            raise AccountQueueFull(most=limits.account_queued, retry_after=self._until_fewer(seconds, mine.jobs))
        total = sum(waiting.jobs for waiting in queue.values())
        if total >= limits.max_queued:
            raise QueueFull(retry_after=self._until_fewer(seconds, total))
        bound = min(limits.max_wait_seconds, limits.inline_seconds) if awaited else limits.max_wait_seconds
        if seconds is not None and seconds > bound:
            raise QueueFull(retry_after=whole_seconds(seconds - bound))

    def _check_rate(self, session: Session, owner: str) -> None:
        most, minute_ago = self._limits.requests_per_minute, self._clock() - 60
        recent = select(func.count(), func.min(Job.created)).where(Job.owner == owner, Job.created > minute_ago)
        count, oldest = session.execute(recent).one()
        if count >= most:
            raise TooManyRequests(most=most, retry_after=whole_seconds(oldest - minute_ago))

    def _seconds_before(self, session: Session, owner: str, queue: dict[str, Waiting]) -> float | None:
        """How long a new job of this account would wait; None where no job has shown the pace yet."""
        seconds = pace(session)
        if seconds is None:
            return None
        turn = queue.get(owner, Waiting()).jobs + 1
        # Accounts take turns: before this one's n-th job each other has had at most n.
        before = sum(
            waiting.work if other == owner else waiting.work * min(1.0, turn / waiting.jobs)
            for other, waiting in queue.items()
        )
        return before * seconds / self._limits.workers

    def _until_fewer(self, seconds: float | None, waiting: int) -> int:
        """When one of those that wait should have begun."""
        return self._limits.retry_after if seconds is None else whole_seconds(seconds / waiting)


def pace(session: Session) -> float | None:
    """Seconds for a step of a megapixel, over the last jobs; None before the first has ended."""
    ended = select(Job.inference, Job.work).where(Job.state == "COMPLETED").order_by(Job.finished.desc()).limit(LATELY)
    last = ended.subquery()
    taken, work = session.execute(select(func.sum(last.c.inference), func.sum(last.c.work))).one()
    return taken / work if work else None


def whole_seconds(left: float) -> int:
    """Seconds for a Retry-After: rounded up, at least 1."""
    return max(1, round(left + 0.5))


def _queue(session: Session) -> dict[str, Waiting]:
    query = select(Job.owner, func.count(), func.sum(Job.work)).where(Job.state == "QUEUED").group_by(Job.owner)
    return {owner: Waiting(count, work) for owner, count, work in session.execute(query)}
