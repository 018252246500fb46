"""The one door to the database: SQLite by default, PostgreSQL by URL. Knows nothing of jobs or credits."""

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from ..errors import BackendUnavailable, OutputError
from . import tables
from .failpoints import TRANSITIONS, failpoint

__all__ = ["Store", "journal_mode"]

READ_ONLY = "outpaint_read_only"
BUSY_SECONDS = 30


class Store:
    """Transactions on one database; safe to share between threads, and between processes on PostgreSQL."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        """Open the database, making its tables where there are none.

        Raises:
            OutputError: it cannot be opened, or was written by another version.
            BackendUnavailable: the database's driver is not installed.
        """
        self.clock = clock
        try:
            self.engine = _opened(url)
            self.link_secret = self._prepared()
        except SQLAlchemyError as error:
            raise OutputError(f"The store cannot be opened: {getattr(error, 'orig', None) or error}.") from error
        except ModuleNotFoundError as error:
            remedy = 'pip install "outpaint_engine[postgres]"'
            raise BackendUnavailable(f"The store needs {error.name}, which is not installed. Try: {remedy}") from error
        # SQLite lets one writer in and makes the others poll; a lock is fair and does not time out.
        self._one_writer = threading.Lock() if self.engine.dialect.name == "sqlite" else nullcontext()
        self._reader = self.engine.execution_options(**{READ_ONLY: True})

    @contextmanager
    def transition(self, name: str) -> Iterator[Connection]:
        """One transaction that changes something, with a failpoint on either side of its commit."""
        assert name in TRANSITIONS
        with self._one_writer, self.engine.begin() as connection:
            yield connection
            failpoint(f"{name}:uncommitted")
        failpoint(f"{name}:committed")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that only reads."""
        with self._reader.begin() as connection:
            yield connection

    def probe(self) -> None:
        """Write something; raises what the database raises."""
        with self._one_writer, self.engine.begin() as connection:
            connection.execute(update(tables.settings).values(probed=self.clock()))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _prepared(self) -> str:
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Several processes may start at once on an empty database.
                connection.execute(text("SELECT pg_advisory_xact_lock(7305125)"))
            tables.metadata.create_all(connection)
            row = connection.execute(select(tables.settings)).one_or_none()
            if row is None:
                secret = secrets.token_hex(32)
                first = {"id": 1, "schema": tables.SCHEMA, "link_secret": secret, "probed": self.clock()}
                connection.execute(insert(tables.settings).values(first))
                return secret
            if row.schema != tables.SCHEMA:
                raise OutputError(
                    f"The store has tables of version {row.schema}, and this program knows {tables.SCHEMA}: "
                    "use the program that wrote it, or another store."
                )
            return str(row.link_secret)


def journal_mode(version: tuple[int, ...]) -> tuple[str, str]:
    """The (journal_mode, synchronous) that lose no commit in this SQLite version.

    3.7.0 to 3.51.2 can corrupt a WAL database that has two connections (sqlite.org/wal.html, "WAL-reset bug"),
    but for the corrected 3.44.6 and 3.50.7; a rollback journal is not affected.
    """
    corrected = version >= (3, 51, 3) or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in ((3, 44, 6), (3, 50, 7))
    )
    return ("WAL", "FULL") if corrected else ("TRUNCATE", "EXTRA")


def _opened(url: str) -> Engine:
    kind = url.partition(":")[0].partition("+")[0]
    if kind not in ("sqlite", "postgresql") or "://" not in url:
        raise OutputError(
            "The store must be a URL, sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME; this one begins "
            f"with {kind[:20]!r}."
        )
    if kind == "postgresql":
        return create_engine(url, pool_size=20, max_overflow=40, pool_pre_ping=True)
    path = make_url(url).database
    if not path or path == ":memory:":
        raise OutputError("The store must be a file or a PostgreSQL URL: one in memory is lost with the process.")
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=20, max_overflow=40)
    _make_private(Path(path))
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """The file holds prompts and hashes of keys: only its owner may read it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise OutputError(f"The store {path} cannot be opened: {error.strerror}.") from error


def _configure(connection: Any, _: Any) -> None:
    # Python's driver would begin transactions by itself, and late; `_begin` does it instead.
    connection.isolation_level = None
    journal, synchronous = journal_mode(sqlite3.sqlite_version_info)
    for pragma in (f"journal_mode={journal}", f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail half-way where another has written in between.
    read_only = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
