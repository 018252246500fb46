"""Submissions, written together: whoever comes while some are being written waits, and is written with all who wait.

A commit waits for the disk, and before it one submission reads the queue, the limits and its account. Several wait and
read once, so that the more come, the less each costs. Each is let in or refused by itself, exactly as if it were alone.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, bindparam, select
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
JOBS, KEYS, ACCOUNTS = rows_of(Job), rows_of(Retried), rows_of(Account)
_USED = and_(KEYS.c.owner == ACCOUNTS.c.owner, KEYS.c.key.in_(bindparam("keys", expanding=True)))
# The accounts in the order of their names: two transactions that hold several never wait for each other in turn.
KNOWN = (
    select(ACCOUNTS.c.owner, ACCOUNTS.c.balance, KEYS.c.key, KEYS.c.fingerprint, KEYS.c.job)
    .select_from(ACCOUNTS.outerjoin(KEYS, _USED))
    .where(ACCOUNTS.c.owner.in_(bindparam("owners", expanding=True)))
    .order_by(ACCOUNTS.c.owner)
    .with_for_update(of=ACCOUNTS)
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
        together: list[Asking] = []
        try:
            with self._store.transition("submit") as session:
                self._wait_for_store(session)
                together = self._taken()
                self._write_in(session, together)
        except (DataError, IntegrityError) as error:
            self._write_each(together, error)
        except BaseException as error:
            together = together or self._taken()
            for each in together:
                each.error = error
        finally:
            for each in together:
                each.written = True
                each.turn.set()
            with self._coming:
                self._writing = bool(self._waiting)
                for following in self._waiting[:1]:
                    following.turn.set()

    def _taken(self) -> list[Asking]:
        with self._coming:
            together, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        return together

    def _write_each(self, together: Sequence[Asking], error: Exception) -> None:
        """What the database refuses in one of them is no reason to refuse the others."""
        if len(together) == 1:
            together[0].error = error
            return
        for each in together:
            try:
                with self._store.transition("submit") as session:
                    self._wait_for_store(session)
                    self._write_in(session, [each])
            except Exception as alone:
                each.error = alone

    def _wait_for_store(self, session: Session) -> None:
        """Meanwhile others may come, who are written too."""
        session.connection()
        if self._memory is None:
            # Other servers let in by the same bounds: one after the other.
            session.execute(select(Settings.id).with_for_update())

    def _write_in(self, session: Session, together: Sequence[Asking]) -> None:
        owners, now = sorted({each.owner for each in together}), self._store.clock()
        made, balances = _known(session, owners, together)
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


def _known(session: Session, owners: Sequence[str], together: Sequence[Asking]) -> tuple[Made, Balances]:
    """Which keys have been used, and the balances; the accounts' rows are held from now on."""
    keys = [retry.key for each in together for retry in each.retries if retry]
    rows = session.execute(KNOWN, {"owners": owners, "keys": keys}).all()
    used = [row for row in rows if row.key is not None]
    made = {(row.owner, row.key): (row.fingerprint, session.get_one(Job, row.job)) for row in used}
    return made, Balances({row.owner: row.balance for row in rows})


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
