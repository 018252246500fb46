"""What a process that owns its store alone knows of the jobs that have not ended, so that nobody need ask the store.

A job is put in before the transaction that makes or claims it is committed, and taken out after the one that ends it:
what is not here is read from the store. Step, preview, whether one is asked for and until when somebody is known to
wait for the answer are kept here only: with the process that would answer, those who wait are gone too.
"""

import threading

from sqlalchemy import select, update

from .store import Store
from .tables import Job

__all__ = ["Memory"]


class Memory:
    """Open jobs by their id; safe to share between threads. Whoever gets a job from here only reads it."""

    def __init__(self, store: Store) -> None:
        self._lock, self._store = threading.Lock(), store
        self._awaited: dict[str, float] = {}
        unended = Job.state.in_(("QUEUED", "PROCESSING"))
        with store.transition("await") as session:
            # Nobody waits any more for what a process before this one was to answer, and nobody runs what it ran.
            session.execute(update(Job).where(unended, Job.awaited_until.is_not(None)).values(awaited_until=0.0))
            session.execute(update(Job).where(Job.state == "PROCESSING").values(state="QUEUED", lease_until=None))
            self._jobs = {job.id: job for job in session.scalars(select(Job).where(unended))}

    def put(self, job: Job) -> None:
        """Know a job as it is now."""
        with self._lock:
            self._jobs[job.id] = job

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
            return any(job.state == "QUEUED" for job in self._jobs.values())
