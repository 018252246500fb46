"""What a process that owns its store alone knows of the jobs that have not ended, so that nobody need ask the store.

A job is put in before the transaction that makes or claims it is committed, and taken out after the one that ends it:
what is not here is read from the store. Step, preview and whether one is asked for are kept here only.
"""

import threading

from sqlalchemy import select

from .store import Store
from .tables import Job

__all__ = ["Memory"]


class Memory:
    """Open jobs by their id; safe to share between threads. Whoever gets a job from here only reads it."""

    def __init__(self, store: Store) -> None:
        self._lock = threading.Lock()
        with store.reading() as session:
            unended = session.scalars(select(Job).where(Job.state.in_(("QUEUED", "PROCESSING"))))
            self._jobs = {job.id: job for job in unended}

    def put(self, job: Job) -> None:
        """Know a job as it is now."""
        with self._lock:
            self._jobs[job.id] = job

    def forget(self, identity: str) -> None:
        """Know a job no longer: it has ended, or only the store can say."""
        with self._lock:
            self._jobs.pop(identity, None)

    def find(self, identity: str) -> Job | None:
        """The job; None where it has ended or there is none."""
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
