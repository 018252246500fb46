"""A job from the worker's side: claimed for a time, kept alive step by step, and ended exactly once.

Every write names the fence under which the job was claimed. Zero rows changed means that another has the job
now, or that it was cancelled: the worker drops what it has.
"""

from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from . import ledger
from .configuration import Configuration
from .failpoints import failpoint
from .jobs import Job, Reason, finish, job_of
from .results import Results
from .store import Store
from .tables import idempotency, jobs

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

    def __init__(self, store: Store, results: Results, configuration: Configuration) -> None:
        self._store, self._results, self._configuration = store, results, configuration

    def claim(self) -> Claim | None:
        """Take the oldest job that is free; on the way, end those that nobody waits for or that failed too often."""
        with self._store.reading() as connection:
            if connection.execute(select(jobs.c.id).where(self._free()).limit(1)).first() is None:
                return None
        with self._store.transition("claim") as connection:
            while True:
                query = select(jobs).where(self._free()).order_by(jobs.c.created).limit(1)
                row = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
                if row is None:
                    return None
                job, now = job_of(row), self._store.clock()
                if row.awaited_until is not None and row.awaited_until < now:
                    finish(connection, job, "cancelled", UNAWAITED, now)
                    connection.execute(delete(idempotency).where(idempotency.c.job == job.id))
                elif job.attempt >= self._configuration.max_attempts:
                    finish(connection, job, "internal", GAVE_UP.format(job.attempt), now)
                else:
                    return self._taken(connection, job, now)

    def beat(self, claim: Claim, step: int, steps: int) -> tuple[Claim | None, bool]:
        """Say that the job is alive: (the claim, None once it is lost, and whether a preview is asked for).

        Looks at every step, so that a cancelled run ends within one; writes twice a second.
        """
        now = self._store.clock()
        columns = jobs.c.preview_asked, jobs.c.awaited_until
        with self._store.reading() as connection:
            row = connection.execute(select(*columns).where(_mine(claim))).one_or_none()
        if row is None or (row.awaited_until is not None and row.awaited_until < now):
            return None, False
        if step not in (1, steps) and now - claim.beaten < BEAT_SECONDS:
            return claim, bool(row.preview_asked)
        values = {"step": step, "steps": steps, "lease_until": now + self._configuration.lease_seconds}
        with self._store.transition("beat") as connection:
            kept = connection.execute(update(jobs).where(_mine(claim)).values(values)).rowcount
        return (claim._replace(beaten=now) if kept else None), bool(row.preview_asked)

    def show(self, claim: Claim, preview: bytes) -> None:
        """Publish a preview."""
        with self._store.transition("beat") as connection:
            values = {"preview": preview, "preview_asked": False}
            connection.execute(update(jobs).where(_mine(claim)).values(values))

    def publish(self, claim: Claim, jpeg: bytes, report: bytes, seconds: float) -> bool:
        """Write the result, then COMPLETED and the charge in one transaction; False if the job was lost."""
        job, name = claim.job, f"{claim.job.id}-{claim.fence}"
        self._results.keep(name, jpeg, report)
        failpoint("result:written")
        with self._store.transition("publish") as connection:
            now = self._store.clock()
            values = {
                "state": "COMPLETED",
                "result": name,
                "inference": seconds,
                "finished": now,
                "lease_until": None,
                "fields": "{}",
                "preview": None,
            }
            kept = bool(connection.execute(update(jobs).where(_mine(claim)).values(values)).rowcount)
            if kept:
                ledger.capture(connection, job.owner, job.id, now)
                remaining = ledger.balance(connection, job.owner)
                connection.execute(update(jobs).where(jobs.c.id == job.id).values(remaining=remaining))
        if kept:
            self._results.drop_picture(job.id)
        else:
            self._results.drop(name)
        return kept

    def fail(self, claim: Claim, reason: Reason, sentence: str) -> bool:
        """End the job without a result and give its hold back; False if the job was lost."""
        with self._store.transition("fail") as connection:
            row = connection.execute(select(jobs).where(_mine(claim)).with_for_update()).one_or_none()
            if row is not None:
                finish(connection, job_of(row), reason, sentence, self._store.clock())
        if row is not None:
            self._results.drop_picture(claim.job.id)
        return row is not None

    def give_back(self, claim: Claim) -> None:
        """Put the job back in the queue, as if it had not been tried: this process is going to end."""
        values = {"state": "QUEUED", "lease_until": None, "attempt": claim.job.attempt - 1}
        with self._store.transition("give_back") as connection:
            connection.execute(update(jobs).where(_mine(claim)).values(values))

    def prune(self) -> int:
        """Delete what is older than `keep_seconds`, and files that a crash left; returns how many jobs went."""
        before = self._store.clock() - self._configuration.keep_seconds
        old = and_(jobs.c.state.in_(("COMPLETED", "FAILED")), jobs.c.finished < before)
        with self._store.transition("prune") as connection:
            gone = connection.execute(select(jobs.c.id, jobs.c.result).where(old).limit(500)).all()
            ids = [row.id for row in gone]
            connection.execute(delete(idempotency).where(idempotency.c.job.in_(ids)))
            connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
            rows = connection.execute(select(jobs.c.id, jobs.c.result, jobs.c.state)).all()
        for row in gone:
            if row.result:
                self._results.drop(row.result)
        running = {row.id for row in rows if row.state in ("QUEUED", "PROCESSING")}
        known = running | {row.result for row in rows if row.result}
        for path in self._results.strays(known, older_than=10 * self._configuration.lease_seconds):
            path.unlink(missing_ok=True)
        return len(gone)

    def _free(self) -> ColumnElement[bool]:
        now = self._store.clock()
        expired = and_(jobs.c.state == "PROCESSING", jobs.c.lease_until < now)
        unawaited = and_(jobs.c.state.in_(("QUEUED", "PROCESSING")), jobs.c.awaited_until < now)
        return or_(jobs.c.state == "QUEUED", expired, unawaited)

    def _taken(self, connection: Connection, job: Job, now: float) -> Claim:
        values = {
            "state": "PROCESSING",
            "attempt": job.attempt + 1,
            "fence": job.fence + 1,
            "lease_until": now + self._configuration.lease_seconds,
            "started": now,
            "step": 0,
        }
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))
        taken = connection.execute(select(jobs).where(jobs.c.id == job.id)).one()
        return Claim(job_of(taken), job.fence + 1, now)


def _mine(claim: Claim) -> ColumnElement[bool]:
    return and_(jobs.c.id == claim.job.id, jobs.c.fence == claim.fence, jobs.c.state == "PROCESSING")
