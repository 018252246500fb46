"""A job from the worker's side: claimed for a time, kept alive step by step, and ended exactly once.

Every write names the fence under which the job was claimed. Where no row has it, another has the job now, or it
was cancelled: the worker drops what it has.
"""

from typing import NamedTuple

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from ..configuration import Configuration
from . import ledger
from .files import Files
from .jobs import finish, forget
from .store import Store, changed
from .tables import Job, Reason, Retried

__all__ = ["Claim", "Leases"]

GAVE_UP = "The run was tried {} times and did not end. Nothing was charged."
UNAWAITED = "Nobody waited for the answer any more. Nothing was charged."
BEAT_SECONDS = 0.5


class Claim(NamedTuple):
    """A job that is this worker's while the fence is the highest; `beaten` is when the lease was last renewed."""

    job: Job
    fence: int
    beaten: float


class Leases:
    """Claims jobs and ends them."""

    def __init__(self, store: Store, files: Files, configuration: Configuration) -> None:
        self._store, self._files, self._configuration = store, files, configuration

    def claim(self) -> Claim | None:
        """Take the oldest job that is free; on the way, end those that nobody waits for or that failed too often."""
        with self._store.reading() as session:
            if session.scalar(select(Job.id).where(self._free()).limit(1)) is None:
                return None
        with self._store.transition("claim") as session:
            while True:
                query = select(Job).where(self._free()).order_by(Job.created).limit(1)
                job = session.scalars(query.with_for_update(skip_locked=True)).one_or_none()
                if job is None:
                    return None
                now = self._store.clock()
                if job.awaited_until is not None and job.awaited_until < now:
                    finish(session, job, "cancelled", UNAWAITED, now)
                    session.execute(delete(Retried).where(Retried.job == job.id))
                elif job.attempt >= self._configuration.max_attempts:
                    finish(session, job, "internal", GAVE_UP.format(job.attempt), now)
                else:
                    return self._taken(job, now)

    def beat(self, claim: Claim, step: int, steps: int) -> tuple[Claim | None, bool]:
        """Say that the job is alive: (the claim, None once it is lost, and whether a preview is asked for).

        Looks at every step, so that a cancelled run ends within one; writes twice a second.
        """
        now = self._store.clock()
        with self._store.reading() as session:
            row = session.execute(select(Job.preview_asked, Job.awaited_until).where(_mine(claim))).one_or_none()
        if row is None or (row.awaited_until is not None and row.awaited_until < now):
            return None, False
        if step not in (1, steps) and now - claim.beaten < BEAT_SECONDS:
            return claim, row.preview_asked
        values = {"step": step, "steps": steps, "lease_until": now + self._configuration.lease_seconds}
        with self._store.transition("beat") as session:
            kept = changed(session, update(Job).where(_mine(claim)).values(values))
        return (claim._replace(beaten=now) if kept else None), row.preview_asked

    def show(self, claim: Claim, preview: bytes) -> None:
        """Publish a preview."""
        with self._store.transition("beat") as session:
            session.execute(update(Job).where(_mine(claim)).values(preview=preview, preview_asked=False))

    def publish(self, claim: Claim, jpeg: bytes, report: bytes, seconds: float) -> bool:
        """Write the result, then COMPLETED and the charge in one transaction; False if the job was lost."""
        name = f"{claim.job.id}-{claim.fence}"
        self._files.keep(name, jpeg, report)
        self._store.passing("result:written")
        with self._store.transition("publish") as session:
            job = _locked(session, claim)
            if job is not None:
                now = self._store.clock()
                job.state, job.finished = "COMPLETED", now
                job.result, job.inference = name, seconds
                forget(job)
                ledger.capture(session, job.owner, job.id, now)
                job.remaining = ledger.balance(session, job.owner)
        if job is None:
            self._files.drop(name)
        else:
            self._files.drop_picture(job.id)
        return job is not None

    def fail(self, claim: Claim, reason: Reason, sentence: str) -> bool:
        """End the job without a result and give its hold back; False if the job was lost."""
        with self._store.transition("fail") as session:
            job = _locked(session, claim)
            if job is not None:
                finish(session, job, reason, sentence, self._store.clock())
        if job is not None:
            self._files.drop_picture(job.id)
        return job is not None

    def give_back(self, claim: Claim) -> None:
        """Put the job back in the queue, as if it had not been tried: this process is going to end."""
        with self._store.transition("give_back") as session:
            job = _locked(session, claim)
            if job is not None:
                job.state, job.lease_until = "QUEUED", None
                job.attempt -= 1

    def prune(self) -> int:
        """Delete what is older than `keep_seconds`, and files that a crash left; returns how many jobs went."""
        before = self._store.clock() - self._configuration.keep_seconds
        old = and_(Job.state.in_(("COMPLETED", "FAILED")), Job.finished < before)
        with self._store.transition("prune") as session:
            gone = session.execute(select(Job.id, Job.result).where(old).limit(500)).all()
            ids = [row.id for row in gone]
            session.execute(delete(Retried).where(Retried.job.in_(ids)))
            session.execute(delete(Job).where(Job.id.in_(ids)))
            rows = session.execute(select(Job.id, Job.result, Job.state)).all()
        for row in gone:
            if row.result:
                self._files.drop(row.result)
        running = {row.id for row in rows if row.state in ("QUEUED", "PROCESSING")}
        known = running | {row.result for row in rows if row.result}
        for path in self._files.strays(known, older_than=10 * self._configuration.lease_seconds):
            path.unlink(missing_ok=True)
        return len(gone)

    def _free(self) -> ColumnElement[bool]:
        now = self._store.clock()
        expired = and_(Job.state == "PROCESSING", Job.lease_until < now)
        unawaited = and_(Job.state.in_(("QUEUED", "PROCESSING")), Job.awaited_until < now)
        return or_(Job.state == "QUEUED", expired, unawaited)

    def _taken(self, job: Job, now: float) -> Claim:
        job.state, job.started, job.step = "PROCESSING", now, 0
        job.attempt += 1
        job.fence += 1
        job.lease_until = now + self._configuration.lease_seconds
        return Claim(job, job.fence, now)


def _mine(claim: Claim) -> ColumnElement[bool]:
    return and_(Job.id == claim.job.id, Job.fence == claim.fence, Job.state == "PROCESSING")


def _locked(session: Session, claim: Claim) -> Job | None:
    """The claim's row, held until the transaction ends; None where it is no longer this worker's."""
    return session.scalars(select(Job).where(_mine(claim)).with_for_update()).one_or_none()
