"""The HTTP server: uvicorn, with limits on what a connection may do before it has sent a request.

A head that does not come in time is hung up on; where there are too many connections, the one that has been without a
request for longest makes room. Neither is worth a line in the log.
"""

import asyncio
import logging
import os
import socket
import sys
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .configuration import Configuration

__all__ = ["bound", "server_of"]

KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 30
MAX_HEAD_BYTES = 32 * 2**10
BACKLOG = 512
OTHER_FILES = 256
"""Open files that the service needs beside its connections and those that are being accepted."""
quiet = logging.getLogger("outpaint_engine.http")
quiet.setLevel(logging.ERROR)


def server_of(app: ASGIApp, configuration: Configuration) -> uvicorn.Server:
    """The server of an application; `run(sockets=[...])` answers until Ctrl-C or SIGTERM, then what is under way."""

    class Guarded(_Guarded):
        header_seconds = configuration.header_seconds
        max_connections = min(configuration.max_connections, _most_connections(configuration.max_connections))
        waiting: ClassVar[dict[H11Protocol, None]] = {}

    settings = uvicorn.Config(
        app,
        http=Guarded,
        ws="none",
        # It would hold signed links.
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return uvicorn.Server(settings)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address; nobody is answered yet.

    Raises:
        OSError: it is taken, or not this machine's.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family)
    try:
        if os.name == "posix":
            # A port whose last server has just stopped is free.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except BaseException:
        found.close()
        raise
    return found


def _most_connections(wanted: int) -> int:
    """How many there can be: without a file left asyncio accepts nobody, and logs that thousands of times a second."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + BACKLOG + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(BACKLOG // 4, soft - BACKLOG - OTHER_FILES)
    return wanted


class _Guarded(H11Protocol):
    """One connection; `waiting` has those without a request, the one that has been so for longest first."""

    header_seconds: ClassVar[float]
    max_connections: ClassVar[int]
    waiting: ClassVar[dict[H11Protocol, None]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = quiet
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, in place of another without a request if there are too many."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.max_connections:
            next(iter(self.waiting)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is not whole yet gets no more time by it."""
        if self in self.waiting and self._head is None:
            self._wait_for_head()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._heard()

    def on_response_complete(self) -> None:
        """Answered: the connection waits for another request, or has one already."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.waiting[self] = None
            if self.conn.trailing_data[0]:
                self._wait_for_head()

    def _wait_for_head(self) -> None:
        self.waiting[self] = None
        self._head = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _heard(self) -> None:
        self.waiting.pop(self, None)
        if self._head is not None:
            self._head.cancel()
            self._head = None
