"""A job from the client's side: submitted, looked at, cancelled. `leases.py` is the worker's side.

    QUEUED -> PROCESSING -> COMPLETED | FAILED

Each change is one transaction in which its ledger entry is written too. A cancelled job is FAILED at once, and
its fence goes up: whoever runs it learns at its next step that the job is no longer its own.
"""

import json
import secrets
from collections.abc import Callable, Sequence

from sqlalchemy import func, select, update

from ..configuration import Configuration
from ..refusals import InsufficientCredits
from . import ledger
from .endings import finish
from .files import Files
from .memory import Memory
from .orders import Order, Retry, Submission
from .store import Store
from .submitting import Asking, Submitting
from .tables import Job, Reason, Retried

__all__ = ["Jobs"]


class Jobs:
    """Submits, finds and cancels; with a `memory`, which a process has that owns the store alone."""

    def __init__(self, store: Store, files: Files, configuration: Configuration, memory: Memory | None = None) -> None:
        self._store, self._files, self._configuration, self._memory = store, files, configuration, memory
        self._submitting = Submitting(store, configuration, memory)
        self.when_cancelled: Callable[[str], None] = _unheard

    def submit(self, order: Order, owner: str, *, awaited: bool, retry: Retry | None = None) -> Submission:
        """Submit one job; see `submit_all`."""
        return self.submit_all([order], owner, awaited=awaited, retry=retry)[0]

    def submit_all(
        self, orders: Sequence[Order], owner: str, *, awaited: bool, retry: Retry | None = None
    ) -> list[Submission]:
        """Write all jobs of one request, their holds and idempotency keys in one transaction, or none of them.

        The pictures are on disk before. Requests of other threads may be in the same transaction.

        Raises:
            Refusal: too few credits, a key used for another request, or too much is asked for.
            OutputError: a picture cannot be written.
        """
        jobs = [self._new(order, owner, awaited) for order in orders]
        retries = [retry.numbered(number) if retry else None for number in range(len(orders))]
        flaws = [order.flaw for order in orders]
        try:
            self._keep_pictures(jobs, orders)
            earlier = self._submitting.write(Asking(owner, jobs, retries, flaws, awaited))
        except BaseException:
            self._forget(jobs)
            raise
        if earlier:
            self._forget(jobs)
            return [Submission(job, replayed=True) for job in earlier]
        return [Submission(job) for job in jobs]

    def find(self, owner: str, identity: str) -> Job | None:
        """A job of this owner, to be read only; None where there is none, or it is another's."""
        known = self._memory.find(identity) if self._memory is not None else None
        if known is not None:
            return known if known.owner == owner else None
        with self._store.reading() as session:
            return session.scalars(select(Job).where(Job.id == identity, Job.owner == owner)).one_or_none()

    def open_of(self, owner: str, door: str) -> list[Job]:
        """This owner's jobs that came by one door and have not ended, oldest first; to be read only."""
        mine = select(Job).where(Job.owner == owner, Job.door == door, Job.state.in_(("QUEUED", "PROCESSING")))
        with self._store.reading() as session:
            jobs = session.scalars(mine.order_by(Job.created)).all()
        known = [self._memory.find(job.id) if self._memory is not None else None for job in jobs]
        return [seen or job for seen, job in zip(known, jobs, strict=True)]

    def result_of(self, identity: str, owner: str | None) -> str | None:
        """The name of a job's result; of any owner's where `owner` is None."""
        query = select(Job.result).where(Job.id == identity)
        if owner is not None:
            query = query.where(Job.owner == owner)
        with self._store.reading() as session:
            return session.scalars(query).one_or_none()

    def cancel(self, owner: str, identity: str, reason: Reason, sentence: str) -> Job | None:
        """End a job that has not ended and give its hold back; returns the job as it is afterwards."""
        with self._store.transition("cancel") as session:
            query = select(Job).where(Job.id == identity, Job.owner == owner).with_for_update()
            job = session.scalars(query).one_or_none()
            if job is None:
                return None
            if not job.ended:
                finish(session, job, reason, sentence, self._store.clock())
        self._forget([job])
        self.when_cancelled(identity)
        return job

    def keep_awaiting(self, identity: str) -> None:
        """Say that somebody still waits for the answer."""
        until = self._store.clock() + self._configuration.awaited_seconds
        if self._memory is not None:
            self._memory.keep_awaiting(identity, until)
            return
        with self._store.transition("await") as session:
            session.execute(update(Job).where(Job.id == identity).values(awaited_until=until))

    def ask_preview(self, identity: str) -> None:
        """Let the worker make a preview at its next step."""
        if self._memory is not None:
            known = self._memory.find(identity)
            if known is not None:
                known.preview_asked = True
            return
        running = update(Job).where(Job.id == identity, Job.state == "PROCESSING")
        with self._store.transition("beat") as session:
            session.execute(running.values(preview_asked=True))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._store.reading() as session:
            rows = session.execute(select(Job.state, func.count()).group_by(Job.state))
            return {state: count for state, count in rows}

    def admit(self, owner: str, key: str | None, *, awaited: bool) -> None:
        """Refuse a submission before its body is read or its picture fetched; `submit` looks again.

        What has come before under this idempotency key is let through: it is answered however busy the service is.

        Raises:
            Refusal: too few credits, or too much is asked for.
        """
        with self._store.reading() as session:
            if key is not None and session.get(Retried, (owner, key)) is not None:
                return
            if ledger.balance(session, owner) < self._configuration.price:
                raise InsufficientCredits
            self._submitting.room(session, [owner], self._store.clock()).take(owner, [0.0], awaited=awaited)

    def _keep_pictures(self, jobs: Sequence[Job], orders: Sequence[Order]) -> None:
        for job, order in zip(jobs, orders, strict=True):
            if order.flaw is None:
                self._files.keep_picture(job.id, order.picture)
                self._store.passing("picture:written")

    def _forget(self, jobs: Sequence[Job]) -> None:
        """Drop what only a job that is going to run needs."""
        for job in jobs:
            if self._memory is not None:
                self._memory.forget(job.id)
            self._files.drop_picture(job.id)

    def _new(self, order: Order, owner: str, awaited: bool) -> Job:
        now, limits = self._store.clock(), self._configuration
        # What is kept in memory is not renewed in the store.
        seconds = limits.awaited_seconds + (limits.inline_seconds if self._memory is not None else 0)
        return Job(
            id=secrets.token_hex(16),
            owner=owner,
            fields=json.dumps(order.fields | ({"crop": order.crop} if order.crop else {})),
            seed=order.fields["seed"],
            base64=order.base64,
            format=order.format,
            door=order.door,
            price=self._configuration.price,
            created=now,
            work=order.work,
            awaited_until=now + seconds if awaited else None,
        )


def _unheard(_: str) -> None:
    pass
