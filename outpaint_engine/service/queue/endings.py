"""What a job's end without a result writes, whoever ends it."""

from sqlalchemy import delete
from sqlalchemy.orm import Session

from . import ledger
from .tables import Job, Reason, Retried

__all__ = ["finish", "forget"]


def finish(session: Session, job: Job, reason: Reason, sentence: str, now: float) -> None:
    """In a transaction that holds the job's row: FAILED, and the hold given back."""
    job.state, job.finished = "FAILED", now
    job.reason, job.error = reason, sentence
    job.fence += 1
    forget(job)
    if job.awaited_until is not None and reason in ("cancelled", "timeout"):
        # Nothing was answered and nothing charged: a retry with the same key may begin anew.
        session.execute(delete(Retried).where(Retried.job == job.id))
    ledger.release(session, job.owner, job.price, job.id, now)


def forget(job: Job) -> None:
    """Drop from a job that has ended what only its run needed, the prompt above all."""
    job.fields = "{}"
    job.lease_until = job.preview = None
