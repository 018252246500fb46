"""The tables of the store. Times are Unix seconds, amounts millionths of a credit."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = ["SCHEMA", "accounts", "idempotency", "jobs", "keys", "ledger", "metadata", "settings"]

SCHEMA = 1
"""Goes up with every change of the tables; a store of another number is refused."""

metadata = MetaData()

settings = Table(
    "settings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema", Integer, nullable=False),
    Column("link_secret", String(64), nullable=False),
    Column("probed", Float, nullable=False),
)
"""One row. Locking it puts submissions in a line, so that the bound on the queue is exact."""

accounts = Table(
    "accounts",
    metadata,
    Column("owner", String(200), primary_key=True),
    Column("balance", BigInteger, nullable=False),
)
"""`balance` is the sum of the owner's ledger, changed in the same transaction as each entry."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("owner", ForeignKey("accounts.owner"), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("disabled", Float),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", ForeignKey("accounts.owner"), nullable=False),
    Column("state", String(10), nullable=False),
    Column("fields", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("base64", Boolean, nullable=False),
    Column("price", BigInteger, nullable=False),
    # Who runs it: whoever holds the highest fence, until the lease ends.
    Column("attempt", Integer, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Float),
    # For v1: until when somebody is known to wait for the answer.
    Column("awaited_until", Float),
    Column("step", Integer, nullable=False, default=0),
    Column("steps", Integer, nullable=False, default=0),
    Column("preview_asked", Boolean, nullable=False, default=False),
    Column("preview", LargeBinary),
    # How it ended.
    Column("reason", String(20)),
    Column("error", Text),
    Column("result", String(80)),
    Column("inference", Float),
    Column("remaining", BigInteger),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
)
Index("jobs_by_state", jobs.c.state, jobs.c.created)
Index("jobs_by_owner", jobs.c.owner, jobs.c.created)

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("owner", ForeignKey("accounts.owner"), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("job", String(32)),
    Column("at", Float, nullable=False),
)
"""Append-only. `job` is no foreign key: entries outlive the job's record."""
_holds = ledger.c.kind == "hold"
Index("one_hold_a_job", ledger.c.job, unique=True, sqlite_where=_holds, postgresql_where=_holds)
_settles = ledger.c.kind.in_(("capture", "release"))
Index("one_settlement_a_job", ledger.c.job, unique=True, sqlite_where=_settles, postgresql_where=_settles)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", ForeignKey("accounts.owner"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("job", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
)
