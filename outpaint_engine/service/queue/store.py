"""The one door to the database: SQLite by default, PostgreSQL by URL. Knows nothing of jobs or credits."""

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Update,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ...errors import BackendUnavailable, OutputError
from .clock import SteadyClock
from .hold import Hold, take
from .tables import SCHEMA, UPGRADES, Settings, Table

__all__ = ["Store", "Transition", "changed", "journal_mode"]

Transition = Literal["submit", "claim", "beat", "await", "publish", "fail", "cancel", "give_back", "prune", "grant"]
"""Everything that changes the books."""

READ_ONLY = "outpaint_read_only"
BUSY_SECONDS = 30
LOST = (
    "The connection that held the store for this server is lost, and another may have it by now: this server ends, and "
    "whatever runs it should start it again."
)
log = logging.getLogger("outpaint_engine.service")


def _unheard(_: str) -> None:
    pass


class Store:
    """Transactions on one database; safe to share between threads, and between processes on PostgreSQL."""

    def __init__(
        self, url: str, clock: Callable[[], float] | None = None, passing: Callable[[str], None] = _unheard
    ) -> None:
        """Open the database, making its tables where there are none.

        `passing` hears each point at which a crash could leave something half done, by its name: both sides of
        every commit, and each file that is on disk before its row.

        Raises:
            OutputError: it cannot be opened, or was written by another version.
            BackendUnavailable: the database's driver is not installed.
        """
        self.clock, self.passing = clock or SteadyClock(), passing
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
        self._held: Hold | None = None
        self._alone, self._lost = False, threading.Event()
        self._when_lost: list[Callable[[], None]] = []
        self._reader = self.engine.execution_options(**{READ_ONLY: True})

    def hold(self, *, shared: bool = False) -> bool:
        """Serve the database from now on, alone or beside others that share it; whether this process has it alone.

        Where that can no longer be known (see `hold.py`), every further use raises.

        Raises:
            OutputError: another server has it alone, or has it at all where this one wants it alone; named.
        """
        if self._held is None:
            try:
                self._held = take(self.engine.url, shared=shared)
            except (SQLAlchemyError, OSError) as error:
                raise OutputError(f"The store cannot be held: {getattr(error, 'orig', None) or error}.") from error
            if self._held is not None:
                self._held.watch(self._lose)
            self._alone = self._held is not None and not shared
        return self._alone

    @property
    def lost(self) -> bool:
        """Whether the database was this process's, and no longer is for certain."""
        return self._lost.is_set()

    def when_lost(self, call: Callable[[], None]) -> None:
        """Call this, in a thread of its own, where the database is lost."""
        self._when_lost.append(call)

    def check_held(self) -> None:
        """Raise `OutputError` where the database is lost: what this process knows of it may be old."""
        if self.lost:
            raise OutputError(LOST)

    @contextmanager
    def transition(self, name: Transition) -> Iterator[Session]:
        """One transaction that changes something. What it read stays readable after it."""
        self.check_held()
        with self._one_writer, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session
            session.flush()
            self.passing(f"{name}:uncommitted")
        self.passing(f"{name}:committed")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that only reads."""
        self.check_held()
        with Session(self._reader, expire_on_commit=False) as session, session.begin():
            yield session

    def probe(self) -> None:
        """Write something; raises what the database raises."""
        self.check_held()
        with self._one_writer, self.engine.begin() as connection:
            connection.execute(update(Settings).values(probed=self.clock()))

    def close(self) -> None:
        """Close every connection, and hold the database no longer."""
        self.engine.dispose()
        if self._held is not None:
            self._held.close()
            self._held = None

    def _lose(self) -> None:
        self._lost.set()
        log.error(LOST)
        for call in self._when_lost:
            call()

    def _prepared(self) -> str:
        with Session(self.engine) as session, session.begin():
            if self.engine.dialect.name == "postgresql":
                # Several processes may start at once on an empty database.
                session.execute(text("SELECT pg_advisory_xact_lock(7305125)"))
            tables = inspect(session.connection()).get_table_names()
            if not tables:
                Table.metadata.create_all(session.connection())
            settings = session.scalars(select(Settings)).one_or_none()
            if settings is None:
                settings = Settings(id=1, schema=SCHEMA, link_secret=secrets.token_hex(32), probed=self.clock())
                session.add(settings)
            while settings.schema in UPGRADES:
                for statement in UPGRADES[settings.schema]:
                    session.execute(text(statement))
                settings.schema += 1
            if settings.schema != SCHEMA:
                raise OutputError(
                    f"The store has tables of version {settings.schema}, and this program knows {SCHEMA}: "
                    "use the program that wrote it, or another store."
                )
            return settings.link_secret


def changed(session: Session, change: Update) -> bool:
    """Whether an update found a row to change."""
    return cast("CursorResult[Any]", session.execute(change)).rowcount > 0


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
