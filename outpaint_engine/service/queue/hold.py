"""Which process has a store: one alone, which may keep in memory what is open, or several that share it.

A SQLite file is held by a lock on a file beside it, a PostgreSQL database by an advisory lock of a connection that does
nothing else. The system drops both with the process. A connection may also be lost while the process lives: whoever had
the database alone can then no longer know that nobody else writes, and is done with it.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ...errors import OutputError

__all__ = ["Hold", "take"]

WAIT_SECONDS = 5.0
"""A server that was stopped or killed a moment ago is waited for."""
WATCH_SECONDS = 1.0
LOCK = "7305125, 1"
ALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""A holder that cannot reach the database gives up (ms, s) before the database gives up the holder."""
DATABASE_ALIVE = {"tcp_keepalives_idle": 15, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
HOLDER = (
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
    f"WHERE locktype = 'advisory' AND granted AND (classid, objid) = ({LOCK}) AND datname = current_database() LIMIT 1"
)
TAKEN = (
    "The store is already served by {}. Stop that one, or say shared_store = true in the configuration of every server "
    "that shares the store."
)


class Hold(Protocol):
    """Alone or shared, until it is closed."""

    def take(self) -> bool:
        """Whether nobody has it in a way that excludes this."""

    def holder(self) -> str:
        """Another that has it, in words."""

    def watch(self, lost: Callable[[], None]) -> None:
        """From now on call `lost`, once, where it is no longer held."""

    def close(self) -> None:
        """Hold it no longer."""


def take(url: URL, *, shared: bool) -> Hold | None:
    """Hold a database; None where it is a file and the system cannot lock one for several processes.

    Raises:
        OutputError: another process has it alone, or has it at all where this one wants it alone.
        SQLAlchemyError: the database cannot be reached.
    """
    hold: Hold
    if url.get_backend_name() == "postgresql":
        hold = _Database(url, shared)
    elif sys.platform == "win32":
        return None
    else:
        hold = _File(f"{url.database}.lock", shared)
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while not hold.take():
            if time.monotonic() > deadline:
                raise OutputError(TAKEN.format(hold.holder()))
            time.sleep(0.1)
    except BaseException:
        hold.close()
        raise
    return hold


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


class _File:
    """A lock of a file, which says who has it."""

    def __init__(self, path: str, shared: bool) -> None:
        self._file, self._shared = os.open(path, os.O_CREAT | os.O_RDWR, 0o600), shared

    def take(self) -> bool:
        import fcntl

        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, _me().encode(), 0)
        return True

    def holder(self) -> str:
        return os.pread(self._file, 200, 0).decode(errors="replace") or "another process"

    def watch(self, lost: Callable[[], None]) -> None:
        """The system takes no lock of a file away."""

    def close(self) -> None:
        os.close(self._file)


class _Database:
    """An advisory lock. One that is shared is taken again where its connection is lost."""

    def __init__(self, url: URL, shared: bool) -> None:
        options: dict[str, Any] = {"application_name": f"outpaint serve, {_me()}"[:63], **ALIVE}
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options)
        self._shared, self._closed = shared, threading.Event()
        self._connection: Connection | None = None
        self._watching: threading.Thread | None = None

    def take(self) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
            for name, value in DATABASE_ALIVE.items():
                self._connection.exec_driver_sql(f"SET {name} = {value}")
        kind = "_shared" if self._shared else ""
        return bool(self._connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{kind}({LOCK})").scalar())

    def holder(self) -> str:
        found = self._connection.exec_driver_sql(HOLDER).scalar() if self._connection is not None else None
        return str(found or "another process")

    def watch(self, lost: Callable[[], None]) -> None:
        def keep() -> None:
            while not self._closed.wait(WATCH_SECONDS):
                if not self._keeps():
                    lost()
                    return

        self._watching = threading.Thread(target=keep, daemon=True)
        self._watching.start()

    def close(self) -> None:
        self._closed.set()
        if self._watching is not None and self._watching is not threading.current_thread():
            self._watching.join(WATCH_SECONDS)
        self._drop()

    def _keeps(self) -> bool:
        try:
            if self._connection is None:
                return self.take()
            self._connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError:
            self._drop()
            return self._shared
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
