"""What a process that owns its store alone knows of the jobs that have not ended, so that nobody need ask the store.

A job is put in before the transaction that makes or claims it is committed, and taken out after the one that ends it:
what is not here is read from the store. Step, preview, whether one is asked for and until when somebody is known to
wait for the answer are kept here only: with the process that would answer, those who wait are gone too. From here, too,
it is decided whether one more job may wait.
"""

import threading
from collections import deque
from collections.abc import Sequence

from sqlalchemy import select, update

from ..configuration import Configuration
from .admission import ENDED, LATELY, MINUTE, Queue, Recent, Room, Waiting
from .store import Store
from .tables import Job

__all__ = ["Memory"]


class Memory:
    """Open jobs by their id; safe to share between threads. Whoever gets a job from here only reads it."""

    def __init__(self, store: Store) -> None:
        self._lock, self._store = threading.Lock(), store
        self._awaited: dict[str, float] = {}
        self._queued: dict[str, Job] = {}
        self._waiting: dict[str, Waiting] = {}
        self._let_in: dict[str, deque[float]] = {}
        self._ended: deque[tuple[float, float]] = deque(maxlen=LATELY)
        unended = Job.state.in_(("QUEUED", "PROCESSING"))
        with store.transition("await") as session:
            # Nobody waits any more for what a process before this one was to answer, and nobody runs what it ran.
            session.execute(update(Job).where(unended, Job.awaited_until.is_not(None)).values(awaited_until=0.0))
            session.execute(update(Job).where(Job.state == "PROCESSING").values(state="QUEUED", lease_until=None))
            self._jobs = {job.id: job for job in session.scalars(select(Job).where(unended))}
            created = select(Job.owner, Job.created).where(Job.created > store.clock() - MINUTE).order_by(Job.created)
            for owner, at in session.execute(created):
                self.let_in(owner, at)
            for inference, work in reversed(session.execute(ENDED.limit(LATELY)).all()):
                self.ended(inference, work)
        for job in self._jobs.values():
            self._count(job)

    def put(self, job: Job) -> None:
        """Know a job as it is now."""
        with self._lock:
            self._discount(job.id)
            self._jobs[job.id] = job
            self._count(job)

    def let_in(self, owner: str, at: float) -> None:
        """A job of this account was let in at this time; times only grow."""
        with self._lock:
            self._let_in.setdefault(owner, deque()).append(at)

    def ended(self, inference: float, work: float) -> None:
        """A job with so much work was painted in so many seconds."""
        with self._lock:
            self._ended.append((inference, work))

    def keep_awaiting(self, identity: str, until: float) -> None:
        """Somebody waits for an open job, and says so again before `until`."""
        with self._lock:
            if identity in self._jobs:
                self._awaited[identity] = until

    def awaited_until(self, job: Job) -> float | None:
        """Until when somebody is known to wait for the job; None for one that nobody needs to wait for."""
        with self._lock:
            return self._awaited.get(job.id, job.awaited_until)

    def forget(self, identity: str) -> None:
        """Know a job no longer: it has ended, or only the store can say."""
        with self._lock:
            self._discount(identity)
            self._jobs.pop(identity, None)
            self._awaited.pop(identity, None)

    def find(self, identity: str) -> Job | None:
        """The job; None where it has ended or there is none.

        Raises:
            OutputError: the store is no longer this process's alone.
        """
        self._store.check_held()
        with self._lock:
            return self._jobs.get(identity)

    def claimed(self, identity: str, fence: int) -> Job | None:
        """The job, if it still runs under this fence."""
        job = self.find(identity)
        return job if job is not None and job.state == "PROCESSING" and job.fence == fence else None

    def any_waits(self) -> bool:
        """Whether a job waits for its first worker, or its next."""
        with self._lock:
            return bool(self._queued)

    @property
    def pace(self) -> float | None:
        """As `admission.pace`."""
        with self._lock:
            taken, work = (sum(column) for column in zip((0.0, 0.0), *self._ended, strict=True))
        return taken / work if work else None

    def room(self, owners: Sequence[str], limits: Configuration, now: float) -> Room:
        """As `Room.read`, of what is known here."""
        pace = self.pace
        with self._lock:
            recent = {owner: self._recent(owner, now - MINUTE) for owner in owners}
            return Room(limits, now, Queue(self._waiting, pace), recent)

    def _recent(self, owner: str, since: float) -> Recent:
        times = self._let_in.get(owner, deque())
        while times and times[0] <= since:
            times.popleft()
        return Recent(len(times), times[0] if times else since + MINUTE)

    def _count(self, job: Job) -> None:
        if job.state == "QUEUED":
            self._queued[job.id] = job
            jobs, work = self._waiting.get(job.owner, Waiting())
            self._waiting[job.owner] = Waiting(jobs + 1, work + job.work)

    def _discount(self, identity: str) -> None:
        job = self._queued.pop(identity, None)
        if job is not None:
            jobs, work = self._waiting.pop(job.owner)
            if jobs > 1:
                self._waiting[job.owner] = Waiting(jobs - 1, work - job.work)
