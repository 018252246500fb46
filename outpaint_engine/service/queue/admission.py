"""Whether one more job may wait: so many a minute, so many waiting, and no longer than somebody would wait for it.

How long a job would wait is estimated from what waits before it, in the fair order in which `leases.py` claims, and
from the pace of the last jobs that ended.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from ..configuration import Configuration
from ..refusals import AccountQueueFull, QueueFull, Refusal, TooManyRequests
from .tables import Job, rows_of

__all__ = ["LATELY", "MINUTE", "Queue", "Recent", "Room", "Waiting", "pace", "whole_seconds"]

MINUTE = 60.0
LATELY = 20
"""Ended jobs that the pace is taken from."""
# Made once: submissions are so frequent that making them anew counts.
JOBS = rows_of(Job).c
ENDED = select(JOBS.inference, JOBS.work).where(JOBS.state == "COMPLETED").order_by(JOBS.finished.desc())
LAST = ENDED.limit(LATELY).subquery().c
PACE = select(func.sum(LAST.inference), func.sum(LAST.work))
QUEUE = select(JOBS.owner, func.count(), func.sum(JOBS.work)).where(JOBS.state == "QUEUED").group_by(JOBS.owner)
RECENT = (
    select(JOBS.owner, func.count(), func.min(JOBS.created))
    .where(JOBS.owner.in_(bindparam("owners", expanding=True)), JOBS.created > bindparam("since"))
    .group_by(JOBS.owner)
)


class Waiting(NamedTuple):
    """The jobs of one account that wait, and the work in them."""

    jobs: int = 0
    work: float = 0.0


class Recent(NamedTuple):
    """The jobs of one account that were let in within the last minute, and when the first was."""

    jobs: int = 0
    oldest: float = 0.0


class Queue(NamedTuple):
    """What waits, by account, and the seconds for a step of a megapixel."""

    waiting: Mapping[str, Waiting]
    pace: float | None


class Room:
    """What is in the queue when a transaction begins to let jobs in, and what it has let in since."""

    def __init__(self, limits: Configuration, now: float, queue: Queue, recent: Mapping[str, Recent]) -> None:
        self._limits, self._now = limits, now
        self._waiting, self._pace, self._recent = dict(queue.waiting), queue.pace, dict(recent)

    @classmethod
    def read(cls, session: Session, owners: Sequence[str], limits: Configuration, now: float) -> Self:
        """What the store has, for submissions of these owners."""
        rows = session.execute(RECENT, {"owners": owners, "since": now - MINUTE})
        recent = {owner: Recent(count, oldest) for owner, count, oldest in rows}
        waiting = {owner: Waiting(count, work) for owner, count, work in session.execute(QUEUE)}
        return cls(limits, now, Queue(waiting, pace(session)), recent)

    def take(self, owner: str, works: Sequence[float], *, awaited: bool) -> None:
        """Let in one job for each of the works, or none.

        Raises:
            Refusal: too much is asked for; Retry-After says when it should be different.
        """
        before = self._waiting.get(owner), self._recent.get(owner)
        try:
            for work in works:
                self._check(owner, awaited)
                waiting, recent = self._waiting.get(owner, Waiting()), self._recent.get(owner, Recent(0, self._now))
                self._waiting[owner] = Waiting(waiting.jobs + 1, waiting.work + work)
                self._recent[owner] = recent._replace(jobs=recent.jobs + 1)
        except Refusal:
            self._waiting[owner], self._recent[owner] = before[0] or Waiting(), before[1] or Recent(0, self._now)
            raise

    def _check(self, owner: str, awaited: bool) -> None:
        limits, recent = self._limits, self._recent.get(owner, Recent())
        if recent.jobs >= limits.requests_per_minute:
            most = limits.requests_per_minute
            raise TooManyRequests(most=most, retry_after=whole_seconds(recent.oldest + MINUTE - self._now))
        mine = self._waiting.get(owner, Waiting())
        seconds = self._seconds_before(owner, mine)
        if mine.jobs >= limits.account_queued:
            raise AccountQueueFull(most=limits.account_queued, retry_after=self._until_fewer(seconds, mine.jobs))
        total = sum(waiting.jobs for waiting in self._waiting.values())
        if total >= limits.max_queued:
            raise QueueFull(retry_after=self._until_fewer(seconds, total))
        bound = min(limits.max_wait_seconds, limits.inline_seconds) if awaited else limits.max_wait_seconds
        if seconds is not None and seconds > bound:
            raise QueueFull(retry_after=whole_seconds(seconds - bound))

    def _seconds_before(self, owner: str, mine: Waiting) -> float | None:
        """How long a new job of this account would wait; None where no job has shown the pace yet."""
        if self._pace is None:
            return None
        turn = mine.jobs + 1
        # Accounts take turns: before this one's n-th job each other has had at most n.
        before = sum(
            waiting.work if other == owner else waiting.work * min(1.0, turn / waiting.jobs)
            for other, waiting in self._waiting.items()
            if waiting.jobs
        )
        return before * self._pace / self._limits.workers

    def _until_fewer(self, seconds: float | None, waiting: int) -> int:
        """When one of those that wait should have begun."""
        return self._limits.retry_after if seconds is None else whole_seconds(seconds / waiting)


def pace(session: Session) -> float | None:
    """Seconds for a step of a megapixel, over the last jobs; None before the first has ended."""
    taken, work = session.execute(PACE).one()
    return taken / work if work else None


def whole_seconds(left: float) -> int:
    """Seconds for a Retry-After: rounded up, at least 1."""
    return max(1, round(left + 0.5))
