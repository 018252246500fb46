"""A job from the client's side: submitted, looked at, cancelled. `leases.py` is the worker's side.

    QUEUED -> PROCESSING -> COMPLETED | FAILED

Each change is one transaction in which its ledger entry is written too. A cancelled job is FAILED at once, and
its fence goes up: whoever runs it learns at its next step that the job is no longer its own.
"""

import json
import secrets
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from . import ledger
from .answers import Refusal
from .configuration import Configuration
from .contract import Order
from .failpoints import failpoint
from .refused import too_many
from .results import Results
from .store import Store
from .tables import idempotency, jobs, settings

__all__ = ["Job", "Jobs", "Reason", "Retry", "finish", "job_of"]

Reason = Literal["input", "internal", "cancelled", "timeout"]


@dataclass(frozen=True)
class Job:
    """One row of the store; times are Unix seconds, amounts millionths of a credit."""

    id: str
    owner: str
    state: str
    fields: dict[str, Any]
    base64: bool
    price: int
    attempt: int
    fence: int
    step: int
    steps: int
    preview: bytes | None
    reason: Reason | None
    error: str | None
    result: str | None
    inference: float | None
    remaining: int | None
    created: float
    started: float | None
    finished: float | None
    seed: int
    replayed: bool = False
    """Whether an earlier request with the same idempotency key made this job."""

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.state in ("COMPLETED", "FAILED")


@dataclass(frozen=True)
class Retry:
    """What makes a repeated POST recognisable: the client's key, and the SHA-256 of what it asked for."""

    key: str
    fingerprint: str


class Jobs:
    """Submits, finds and cancels."""

    def __init__(self, store: Store, results: Results, configuration: Configuration) -> None:
        self._store, self._results, self._configuration = store, results, configuration

    def submit(self, order: Order, owner: str, *, awaited: bool, retry: Retry | None = None) -> Job:
        """Write the job, its hold and its idempotency key in one transaction; the picture is on disk before.

        Raises:
            Refusal: 406 for too few credits, 422 for a key used for another request, 429 or 503 for too much.
            OutputError: the picture cannot be written.
        """
        identity = secrets.token_hex(16)
        self._results.keep_picture(identity, order.picture)
        failpoint("picture:written")
        made = None
        try:
            with self._store.transition("submit") as connection:
                connection.execute(select(settings.c.id).with_for_update())
                earlier = _earlier(connection, owner, retry) if retry else None
                if earlier is None:
                    self._check_traffic(connection, owner)
                    made = self._write(connection, identity, order, owner, awaited)
                    if retry:
                        row = {"owner": owner, "key": retry.key, "fingerprint": retry.fingerprint, "job": identity}
                        connection.execute(insert(idempotency).values(row))
        except BaseException:
            self._results.drop_picture(identity)
            raise
        if made is not None:
            return made
        self._results.drop_picture(identity)
        assert earlier is not None
        return replace(earlier, replayed=True)

    def find(self, owner: str, identity: str) -> Job | None:
        """A job of this owner; None where there is none, or it is another's."""
        query = select(jobs).where(jobs.c.id == identity, jobs.c.owner == owner)
        with self._store.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else job_of(row)

    def result_of(self, identity: str, owner: str | None) -> str | None:
        """The name of a job's result; of any owner's where `owner` is None."""
        query = select(jobs.c.result).where(jobs.c.id == identity)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        with self._store.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def cancel(self, owner: str, identity: str, reason: Reason, sentence: str) -> Job | None:
        """End a job that has not ended and give its hold back; returns the job as it is afterwards."""
        with self._store.transition("cancel") as connection:
            query = select(jobs).where(jobs.c.id == identity, jobs.c.owner == owner).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if not job_of(row).ended:
                finish(connection, job_of(row), reason, sentence, self._store.clock())
                if row.awaited_until is not None:
                    # Nothing was answered and nothing charged: a retry with the same key may begin anew.
                    connection.execute(delete(idempotency).where(idempotency.c.job == identity))
        self._results.drop_picture(identity)
        return self.find(owner, identity)

    def keep_awaiting(self, identity: str) -> None:
        """Say that somebody still waits for the answer."""
        until = self._store.clock() + self._configuration.awaited_seconds
        with self._store.transition("await") as connection:
            connection.execute(update(jobs).where(jobs.c.id == identity).values(awaited_until=until))

    def ask_preview(self, identity: str) -> None:
        """Let the worker make a preview at its next step."""
        running = and_(jobs.c.id == identity, jobs.c.state == "PROCESSING")
        with self._store.transition("beat") as connection:
            connection.execute(update(jobs).where(running).values(preview_asked=True))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._store.reading() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def check_traffic(self, owner: str) -> None:
        """Refuse a submission before its body is read or its picture fetched; `submit` looks again.

        Raises:
            Refusal: 429 or 503, too much is asked for.
        """
        with self._store.reading() as connection:
            self._check_traffic(connection, owner)

    def _check_traffic(self, connection: Connection, owner: str) -> None:
        limits = self._configuration
        minute_ago = self._store.clock() - 60
        recent = select(func.count(), func.min(jobs.c.created)).where(
            jobs.c.owner == owner, jobs.c.created > minute_ago
        )
        count, oldest = connection.execute(recent).one()
        if count >= limits.requests_per_minute:
            raise too_many(limits.requests_per_minute, oldest - minute_ago)
        queued = connection.execute(select(func.count()).where(jobs.c.state == "QUEUED")).scalar_one()
        if queued >= limits.max_queued:
            raise Refusal(503, "The queue is full; try again soon.", "queue_full", limits.retry_after)

    def _write(self, connection: Connection, identity: str, order: Order, owner: str, awaited: bool) -> Job:
        now, price = self._store.clock(), self._configuration.price
        row = {
            "id": identity,
            "owner": owner,
            "state": "QUEUED",
            "fields": json.dumps(order.fields),
            "seed": order.fields["seed"],
            "base64": order.base64,
            "price": price,
            "awaited_until": now + self._configuration.awaited_seconds if awaited else None,
            "created": now,
        }
        connection.execute(insert(jobs).values(row))
        if not ledger.hold(connection, owner, price, identity, now):
            raise Refusal(406, "Insufficient credits.", "credits")
        return job_of(connection.execute(select(jobs).where(jobs.c.id == identity)).one())


def finish(connection: Connection, job: Job, reason: Reason, sentence: str, now: float) -> None:
    """In a transaction that holds the job's row: FAILED, and the hold given back."""
    change = {
        "state": "FAILED",
        "reason": reason,
        "error": sentence,
        "fence": job.fence + 1,
        "finished": now,
        "lease_until": None,
        "fields": "{}",
        "preview": None,
    }
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(change))
    ledger.release(connection, job.owner, job.price, job.id, now)


def job_of(row: Row[Any]) -> Job:
    """The job in a row of the table."""
    values = dict(row._mapping)
    for unused in ("lease_until", "awaited_until", "preview_asked"):
        del values[unused]
    return Job(**values | {"fields": json.loads(values["fields"])})


def _earlier(connection: Connection, owner: str, retry: Retry) -> Job | None:
    """The job that this key made before.

    Raises:
        Refusal: 422, the key was used for another request.
    """
    query = select(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == retry.key)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.fingerprint != retry.fingerprint:
        raise Refusal(422, "Idempotency-Key was used for another request: choose a new one.", "idempotency")
    return job_of(connection.execute(select(jobs).where(jobs.c.id == row.job)).one())
