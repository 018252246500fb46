"""The tables of the store, each a dataclass. Times are Unix seconds, amounts millionths of a credit."""

from typing import Literal, cast

import sqlalchemy
from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

__all__ = ["SCHEMA", "Account", "Entry", "Job", "Key", "Reason", "Retried", "Settings", "Table", "UPGRADES", "rows_of"]

SCHEMA = 3
"""Goes up with every change of the tables; a store of a higher number is refused."""
UPGRADES: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE accounts ADD COLUMN served DOUBLE PRECISION NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN work DOUBLE PRECISION NOT NULL DEFAULT 1",
        "CREATE INDEX jobs_by_end ON jobs (finished)",
        "CREATE INDEX idempotency_by_job ON idempotency (job)",
    ),
    2: (
        "ALTER TABLE jobs ADD COLUMN format VARCHAR(4) NOT NULL DEFAULT 'jpg'",
        "ALTER TABLE jobs ADD COLUMN door VARCHAR(20) NOT NULL DEFAULT ''",
    ),
}
"""What leads from each earlier number to the next."""

Reason = Literal["input", "internal", "cancelled", "timeout", "safety"]


class Table(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """What every table is made from."""


def rows_of(table: type[Table]) -> sqlalchemy.Table:
    """A table without the mapping to objects, for statements that are run so often that it counts."""
    return cast("sqlalchemy.Table", table.__table__)


class Settings(Table):
    """One row. Locking it puts submissions in a line, so that the bound on the queue is exact."""

    __tablename__ = "settings"
    id: Mapped[int] = mapped_column(primary_key=True)
    schema: Mapped[int]
    link_secret: Mapped[str] = mapped_column(String(64))
    probed: Mapped[float]


class Account(Table):
    """`balance` is the sum of the owner's ledger, changed in the same transaction as each entry."""

    __tablename__ = "accounts"
    owner: Mapped[str] = mapped_column(String(200), primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger, default=0)
    served: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Until when what it had run has used its fair share of the workers; see `leases.py`."""


class Key(Table):
    """An API key, of which only the SHA-256 is kept."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("accounts.owner"))
    sha256: Mapped[str] = mapped_column(String(64))
    created: Mapped[float]
    disabled: Mapped[float | None] = mapped_column(default=None)


class Job(Table):
    """One request, from its submission until it is no longer kept."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("accounts.owner"))
    fields: Mapped[str] = mapped_column(Text)
    """JSON of `OutpaintRequest`'s fields but the picture; emptied when the job ends."""
    seed: Mapped[int] = mapped_column(BigInteger)
    base64: Mapped[bool]
    price: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[float]
    work: Mapped[float] = mapped_column(default=1.0, server_default="1")
    """How much there is to do, in steps of a megapixel."""
    format: Mapped[str] = mapped_column(String(4), default="jpg", server_default="jpg")
    """The ending of the result's file: jpg, png or webp."""
    door: Mapped[str] = mapped_column(String(20), default="", server_default="")
    """Which other API asked for it; empty for our own."""
    state: Mapped[str] = mapped_column(String(10), default="QUEUED")

    # Who runs it: whoever holds the highest fence, until the lease ends.
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None] = mapped_column(default=None)
    awaited_until: Mapped[float | None] = mapped_column(default=None)
    """For v1: until when somebody is known to wait for the answer."""
    step: Mapped[int] = mapped_column(default=0)
    steps: Mapped[int] = mapped_column(default=0)
    preview_asked: Mapped[bool] = mapped_column(default=False)
    preview: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)

    # How it ended.
    reason: Mapped[Reason | None] = mapped_column(String(20), default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    result: Mapped[str | None] = mapped_column(String(80), default=None)
    inference: Mapped[float | None] = mapped_column(default=None)
    remaining: Mapped[int | None] = mapped_column(BigInteger, default=None)
    started: Mapped[float | None] = mapped_column(default=None)
    finished: Mapped[float | None] = mapped_column(default=None)

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.state in ("COMPLETED", "FAILED")


Index("jobs_by_state", Job.state, Job.created)
Index("jobs_by_owner", Job.owner, Job.created)
Index("jobs_by_end", Job.finished)


class Entry(Table):
    """A line of the ledger, which is append-only. `job` is no foreign key: entries outlive the job's record."""

    __tablename__ = "ledger"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True, init=False)
    owner: Mapped[str] = mapped_column(ForeignKey("accounts.owner"))
    kind: Mapped[str] = mapped_column(String(10))
    amount: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str | None] = mapped_column(String(32))
    at: Mapped[float]


_holds = Entry.kind == "hold"
Index("one_hold_a_job", Entry.job, unique=True, sqlite_where=_holds, postgresql_where=_holds)
_settles = Entry.kind.in_(("capture", "release"))
Index("one_settlement_a_job", Entry.job, unique=True, sqlite_where=_settles, postgresql_where=_settles)


class Retried(Table):
    """An idempotency key, the SHA-256 of what was asked under it, and the job that it made."""

    __tablename__ = "idempotency"
    owner: Mapped[str] = mapped_column(ForeignKey("accounts.owner"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))


Index("idempotency_by_job", Retried.job)
