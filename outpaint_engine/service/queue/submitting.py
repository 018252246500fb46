"""Submissions, written together: whoever comes while some are being written waits, and is written with all who wait.

A commit waits for the disk, and before it one submission reads the queue, the limits and its account. Several wait and
read once, so that the more come, the less each costs. Each is let in or refused by itself, exactly as if it were alone.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from ..configuration import Configuration
from ..refusals import InsufficientCredits, KeyReused, Refusal
from .admission import Room
from .endings import finish
from .ledger import Balances
from .memory import Memory
from .orders import Retry
from .rows import write_rows
from .store import Store
from .tables import Account, Entry, Job, Retried, Settings, rows_of

__all__ = ["Asking", "Submitting"]

# Made once: making statements anew counts here.
JOBS, KEYS = rows_of(Job), rows_of(Retried)
EARLIER = select(KEYS).where(
    KEYS.c.owner.in_(bindparam("owners", expanding=True)), KEYS.c.key.in_(bindparam("keys", expanding=True))
)
MOST = 64
"""Written in one transaction."""


@dataclass(eq=False)
class Asking:
    """The new jobs of one request, each with its retry, and with its flaw where it cannot be painted."""

    owner: str
    jobs: Sequence[Job]
    retries: Sequence[Retry | None]
    flaws: Sequence[str | None]
    awaited: bool
    earlier: list[Job] = field(default_factory=list)
    """Set where its keys have been used: the jobs that they made; then no new one is written."""
    error: BaseException | None = None
    written: bool = False
    turn: threading.Event = field(default_factory=threading.Event)
    """Set where it is written, or the first of those that are to be."""


class Submitting:
    """Writes the jobs of requests with their holds and keys; with a `memory`, puts in there what waits."""

    def __init__(self, store: Store, configuration: Configuration, memory: Memory | None) -> None:
        self._store, self._configuration, self._memory = store, configuration, memory
        self._coming, self._writing = threading.Lock(), False
        self._waiting: list[Asking] = []

    def write(self, asking: Asking) -> list[Job]:
        """Write all jobs of a request or none; returns those that its keys made earlier.

        Raises:
            Refusal: too few credits, a key used for another request, or too much is asked for.
            SQLAlchemyError: the store fails.
        """
        with self._coming:
            self._waiting.append(asking)
            if not self._writing:
                self._writing = True
                asking.turn.set()
        asking.turn.wait()
        if not asking.written:
            self._write_waiting()
        if asking.error is not None:
            raise asking.error
        return asking.earlier

    def _write_waiting(self) -> None:
        """Write this thread's and what else waits; the next to come writes what has come meanwhile."""
        with self._coming:
            together, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        self._write(together)
        for each in together:
            each.turn.set()
        with self._coming:
            self._writing = bool(self._waiting)
            for following in self._waiting[:1]:
                following.turn.set()

    def _write(self, together: Sequence[Asking]) -> None:
        try:
            with self._store.transition("submit") as session:
                self._write_in(session, together)
        except (DataError, IntegrityError) as error:
            if len(together) == 1:
                together[0].error = error
            else:
                # What the database refuses in one of them is no reason to refuse the others.
                for each in together:
                    self._write([each])
        except BaseException as error:
            for each in together:
                each.error = error
        finally:
            for each in together:
                each.written = True

    def _write_in(self, session: Session, together: Sequence[Asking]) -> None:
        if self._memory is None:
            # Other servers let in by the same bounds: one after the other.
            session.execute(select(Settings.id).with_for_update())
        owners, now = sorted({each.owner for each in together}), self._store.clock()
        made, balances = _made(session, owners, together), Balances(session, owners)
        room = self.room(session, owners, now)
        new = [each for each in together if _is_let_in(each, made, balances, room)]
        if new:
            keys = [_key(each.owner, *pair) for each in new for pair in _keyed(each)]
            holds, left = balances.rows(now)
            jobs = [_row(job) for each in new for job in each.jobs]
            write_rows(session, {Job: jobs, Entry: holds, Retried: keys}, {Account: left})
        for each in new:
            for job, flaw in zip(each.jobs, each.flaws, strict=True):
                if flaw is not None:
                    finish(session, job, "input", flaw, now)
                    session.merge(job)
                self._remember(job)

    def room(self, session: Session, owners: Sequence[str], now: float) -> Room:
        """What these owners' submissions find in the queue."""
        if self._memory is not None:
            return self._memory.room(owners, self._configuration, now)
        return Room.read(session, owners, self._configuration, now)

    def _remember(self, job: Job) -> None:
        if self._memory is None:
            return
        self._memory.let_in(job.owner, job.created)
        if not job.ended:
            self._memory.put(job)
            if job.awaited_until is not None:
                self._memory.keep_awaiting(job.id, job.created + self._configuration.awaited_seconds)


Made = dict[tuple[str, str], tuple[str, Job]]
"""By owner and idempotency key: the fingerprint of what was asked, and the job that it made."""


def _made(session: Session, owners: Sequence[str], together: Sequence[Asking]) -> Made:
    keys = [retry.key for each in together for retry in each.retries if retry]
    if not keys:
        return {}
    rows = session.execute(EARLIER, {"owners": owners, "keys": keys}).all()
    return {(row.owner, row.key): (row.fingerprint, session.get_one(Job, row.job)) for row in rows}


def _is_let_in(asking: Asking, made: Made, balances: Balances, room: Room) -> bool:
    """Whether its jobs are to be written: they are new, paid for, and there is room for all of them."""
    owner, asking.error = asking.owner, None
    found = [(retry, *made[owner, retry.key]) for retry, _ in _keyed(asking) if (owner, retry.key) in made]
    asking.earlier = [job for _, _, job in found]
    try:
        if any(fingerprint != retry.fingerprint for retry, fingerprint, _ in found):
            raise KeyReused
        if found:
            return False
        if balances.left(owner) < sum(job.price for job in asking.jobs):
            raise InsufficientCredits
        room.take(owner, [job.work for job in asking.jobs], awaited=asking.awaited)
    except Refusal as refusal:
        asking.error = refusal
        return False
    for job in asking.jobs:
        balances.hold(owner, job.price, job.id)
    made.update({(owner, retry.key): (retry.fingerprint, job) for retry, job in _keyed(asking)})
    return True


def _keyed(asking: Asking) -> list[tuple[Retry, Job]]:
    return [(retry, job) for retry, job in zip(asking.retries, asking.jobs, strict=True) if retry]


def _row(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in JOBS.columns}


def _key(owner: str, retry: Retry, job: Job) -> dict[str, Any]:
    return {"owner": owner, "key": retry.key, "fingerprint": retry.fingerprint, "job": job.id}
