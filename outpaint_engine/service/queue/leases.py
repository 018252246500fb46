"""A job from the worker's side: claimed for a time, kept alive step by step, and ended exactly once.

Every write names the fence under which the job was claimed. Where no row has it, another has the job now, or it
was cancelled: the worker drops what it has.
"""

from typing import NamedTuple

from sqlalchemy import Select, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from ..configuration import Configuration
from . import ledger
from .admission import pace
from .endings import finish, forget
from .files import Files
from .memory import Memory
from .store import Store, changed
from .tables import Account, Job, Reason, Retried

__all__ = ["Claim", "Leases"]

GAVE_UP = "The run was tried {} times and did not end. Nothing was charged."
UNAWAITED = "Nobody waited for the answer any more. Nothing was charged."
BEAT_SECONDS = 0.5
LEASE_BEATS = 4
PRUNE_ROWS = 100
"""In one transaction: others write in between."""


class Claim(NamedTuple):
    """A job that is this worker's while the fence is the highest.

    `beaten` is when the lease was last renewed.
    """

    job: Job
    fence: int
    beaten: float
    step: int = 0
    steps: int = 1

    @property
    def work_left(self) -> float:
        """What there is still to do, in steps of a megapixel."""
        return self.job.work * (1 - self.step / self.steps)


class Leases:
    """Claims jobs and ends them; with a `memory`, which a process has that owns the store alone."""

    def __init__(self, store: Store, files: Files, configuration: Configuration, memory: Memory | None = None) -> None:
        self._store, self._files, self._configuration, self._memory = store, files, configuration, memory

    def claim(self, host: Claim | None = None) -> Claim | None:
        """Take the job whose turn it is, among those that are free.

        Accounts take turns: first those for whom the fewest jobs run, then those that have used the least of their
        share, then the oldest job. With a `host`, the job must have a better right to its worker than its own: it is
        of an account for which nothing runs, and shorter than what the host has left. On the way, jobs are ended
        that nobody waits for, or that failed too often.
        """
        if host is not None and self._memory is not None and not self._memory.any_waits():
            return None
        while self._any(host):
            seen: list[str] = []
            try:
                with self._store.transition("claim") as session:
                    claim = self._first(session, host, seen)
            except BaseException:
                self._forget(*seen)
                raise
            if claim is not None or not seen:
                return claim
            self._forget(*seen)
        return None

    def running_for(self, owner: str) -> int:
        """How many of an account's jobs run."""
        with self._store.reading() as session:
            mine = select(func.count()).where(Job.owner == owner, Job.state == "PROCESSING")
            return session.scalars(mine).one()

    def beat(self, claim: Claim, step: int, steps: int) -> tuple[Claim | None, bool]:
        """Say that the job is alive: (the claim, None once it is lost, and whether a preview is asked for).

        Looks at every step, so that a cancelled run ends within one. Without a memory others see the step in the
        store, where it is written twice a second; with one the lease is kept there, four times while it lasts.
        """
        now = self._store.clock()
        claim = claim._replace(step=step, steps=steps)
        known = self._memory.claimed(claim.job.id, claim.fence) if self._memory is not None else None
        if known is None:
            return self._beat_in_store(claim, now)
        known.step, known.steps = step, steps
        if self._is_unawaited(known, now):
            self.fail(claim, "cancelled", UNAWAITED)
            return None, False
        due = now - claim.beaten >= self._configuration.lease_seconds / LEASE_BEATS
        return (self._renewed(claim, now) if due else claim), known.preview_asked

    def lost_to(self, claim: Claim) -> str:
        """What became of a job that is no longer this worker's: "cancelled", or "lost" to another worker."""
        with self._store.reading() as session:
            reason = session.scalars(select(Job.reason).where(Job.id == claim.job.id)).one_or_none()
        return "cancelled" if reason in ("cancelled", "timeout") else "lost"

    def show(self, claim: Claim, preview: bytes) -> None:
        """Publish a preview."""
        known = self._memory.claimed(claim.job.id, claim.fence) if self._memory is not None else None
        if known is not None:
            known.preview, known.preview_asked = preview, False
            return
        with self._store.transition("beat") as session:
            session.execute(update(Job).where(_mine(claim)).values(preview=preview, preview_asked=False))

    def publish(self, claim: Claim, picture: bytes, report: bytes, seconds: float) -> bool:
        """Write the result, then COMPLETED and the charge in one transaction; False if the job was lost."""
        name = f"{claim.job.id}-{claim.fence}"
        self._files.keep(name, f".{claim.job.format}", picture, report)
        self._store.passing("result:written")
        with self._store.transition("publish") as session:
            job = _locked(session, claim)
            if job is not None:
                now = self._store.clock()
                job.state, job.finished = "COMPLETED", now
                job.result, job.inference = name, seconds
                job.step = job.steps = claim.steps
                forget(job)
                ledger.capture(session, job.owner, job.id, now)
                job.remaining = ledger.balance(session, job.owner)
        self._lose(claim)
        if job is None:
            self._files.drop(name)
        else:
            if self._memory is not None:
                self._memory.ended(seconds, job.work)
            self._files.drop_picture(job.id)
        return job is not None

    def fail(self, claim: Claim, reason: Reason, sentence: str) -> bool:
        """End the job without a result and give its hold back; False if the job was lost."""
        with self._store.transition("fail") as session:
            job = _locked(session, claim)
            if job is not None:
                finish(session, job, reason, sentence, self._store.clock())
        self._lose(claim)
        if job is not None:
            self._files.drop_picture(job.id)
        return job is not None

    def give_back(self, claim: Claim, *, tried: bool = False) -> None:
        """Put the job back in the queue: this process is going to end, or whoever `tried` to paint it is gone."""
        with self._store.transition("give_back") as session:
            job = _locked(session, claim)
            if job is not None:
                job.state, job.lease_until = "QUEUED", None
                job.attempt -= not tried
                if self._memory is not None:
                    self._memory.put(job)

    def prune(self) -> int:
        """Delete some of what is older than `keep_seconds`; returns how many jobs went, 0 when none is left."""
        before = self._store.clock() - self._configuration.keep_seconds
        with self._store.reading() as session:
            old = select(Job.id, Job.result).where(Job.finished < before).limit(PRUNE_ROWS)
            gone = session.execute(old).all()
        if not gone:
            return 0
        ids = [row.id for row in gone]
        with self._store.transition("prune") as session:
            session.execute(delete(Retried).where(Retried.job.in_(ids)))
            session.execute(delete(Job).where(Job.id.in_(ids)))
        for row in gone:
            if row.result:
                self._files.drop(row.result)
        return len(gone)

    def sweep(self) -> None:
        """Delete files of no known job or result, which a crash left. Looks at them a few at a time."""
        for batch in self._files.old(older_than=10 * self._configuration.lease_seconds, at_once=PRUNE_ROWS):
            jobs = {file.stem.partition("-")[0] for file in batch}
            with self._store.reading() as session:
                rows = session.execute(select(Job.id, Job.result, Job.state).where(Job.id.in_(jobs))).all()
            known = {row.id for row in rows if row.state in ("QUEUED", "PROCESSING")} | {row.result for row in rows}
            for file in batch:
                if file.stem not in known:
                    file.drop()

    def _any(self, host: Claim | None) -> bool:
        with self._store.reading() as session:
            return session.execute(self._next(host).with_only_columns(Job.id)).first() is not None

    def _first(self, session: Session, host: Claim | None, seen: list[str]) -> Claim | None:
        """Take the first that is free, or end it; `seen` gets the id of what is changed.

        One job in a transaction, and so one account: two that hold several could wait for each other.
        """
        job = session.scalars(self._next(host).with_for_update(skip_locked=True, of=Job)).one_or_none()
        if job is None:
            return None
        seen.append(job.id)
        now = self._store.clock()
        if self._is_unawaited(job, now):
            finish(session, job, "cancelled", UNAWAITED, now)
        elif job.attempt >= self._configuration.max_attempts:
            finish(session, job, "internal", GAVE_UP.format(job.attempt), now)
        else:
            claim = self._taken(session, job, now)
            if self._memory is not None:
                self._memory.put(job)
            return claim
        return None

    def _beat_in_store(self, claim: Claim, now: float) -> tuple[Claim | None, bool]:
        with self._store.reading() as session:
            row = session.execute(select(Job.preview_asked, Job.awaited_until).where(_mine(claim))).one_or_none()
        if row is None:
            return None, False
        if row.awaited_until is not None and row.awaited_until < now:
            self.fail(claim, "cancelled", UNAWAITED)
            return None, False
        due = claim.step in (1, claim.steps) or now - claim.beaten >= BEAT_SECONDS
        return (self._renewed(claim, now) if due else claim), row.preview_asked

    def _renewed(self, claim: Claim, now: float) -> Claim | None:
        values = {"step": claim.step, "steps": claim.steps, "lease_until": now + self._configuration.lease_seconds}
        with self._store.transition("beat") as session:
            kept = changed(session, update(Job).where(_mine(claim)).values(values))
        return claim._replace(beaten=now) if kept else None

    def _is_unawaited(self, job: Job, now: float) -> bool:
        until = job.awaited_until if self._memory is None else self._memory.awaited_until(job)
        return until is not None and until < now

    def _forget(self, *jobs: str) -> None:
        if self._memory is not None:
            for job in jobs:
                self._memory.forget(job)

    def _lose(self, claim: Claim) -> None:
        """Forget a job that is no longer this claim's, unless another claim has it by now."""
        if self._memory is not None and self._memory.claimed(claim.job.id, claim.fence) is not None:
            self._memory.forget(claim.job.id)

    def _next(self, host: Claim | None) -> Select[Job]:
        other, now = aliased(Job), self._store.clock()
        live = select(func.count()).where(
            other.owner == Job.owner, other.state == "PROCESSING", other.lease_until >= now
        )
        running = live.scalar_subquery()
        query = select(Job).join(Account).where(self._free())
        if host is not None:
            query = query.where(Job.owner != host.job.owner, Job.work <= host.work_left, running == 0)
        return query.order_by(running, _share(now), Job.created).limit(1)

    def _free(self) -> ColumnElement[bool]:
        now = self._store.clock()
        expired = and_(Job.state == "PROCESSING", Job.lease_until < now)
        unawaited = and_(Job.state.in_(("QUEUED", "PROCESSING")), Job.awaited_until < now)
        return or_(Job.state == "QUEUED", expired, unawaited)

    def _taken(self, session: Session, job: Job, now: float) -> Claim:
        job.state, job.started, job.step = "PROCESSING", now, 0
        job.attempt += 1
        job.fence += 1
        job.lease_until = now + self._configuration.lease_seconds
        seconds_a_step = pace(session) if self._memory is None else self._memory.pace
        seconds = job.work * (seconds_a_step or 1.0) / self._configuration.workers
        account = update(Account).where(Account.owner == job.owner)
        session.execute(account.values(served=_share(now) + seconds))
        return Claim(job, job.fence, now)


def _share(now: float) -> ColumnElement[float]:
    """Until when an account has used its share; one that has used less than its share saves nothing up."""
    return case((Account.served > now, Account.served), else_=now)


def _mine(claim: Claim) -> ColumnElement[bool]:
    return and_(Job.id == claim.job.id, Job.fence == claim.fence, Job.state == "PROCESSING")


def _locked(session: Session, claim: Claim) -> Job | None:
    """The claim's row, held until the transaction ends; None where it is no longer this worker's."""
    return session.scalars(select(Job).where(_mine(claim)).with_for_update()).one_or_none()
