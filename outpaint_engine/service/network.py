"""The socket's side of fetching by URL: resolve once, check every address, connect to one that was checked, in time."""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable

import httpcore2

from ..errors import ImageError

__all__ = ["CheckedNetwork", "Resolve", "system_addresses"]

Resolve = Callable[[str, int], list[str]]
"""Host and port to all its numeric addresses; OSError or an empty list where it has none."""

MAX_ADDRESSES = 4
CONNECT_SECONDS = 3.0
NOT_PUBLIC = "image's URL leads to a host that is unknown or not public. Use a public address, or send the picture."


def system_addresses(host: str, port: int) -> list[str]:
    """All numeric addresses of a host, as this machine's resolver gives them; OSError where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedNetwork(httpcore2.NetworkBackend):
    """Opens connections to allowed addresses only; every wait on them ends at one deadline."""

    def __init__(self, deadline: float, resolve: Resolve, allowed: Callable[[str], bool]) -> None:
        self._deadline = deadline
        self._resolve = resolve
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Resolve once, check every address, connect to one that was checked."""
        addresses = self._addresses(host, port)
        if not addresses or not all(map(self._allowed, addresses)):
            raise ImageError(NOT_PUBLIC)
        failure: Exception | None = None
        for address in addresses[:MAX_ADDRESSES]:
            patience = min(CONNECT_SECONDS, _left(self._deadline))
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, patience, local_address, socket_options)
                return _TimedStream(stream, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise httpcore2.ConnectError(str(failure)) from failure

    def _addresses(self, host: str, port: int) -> list[str]:
        """Ask the resolver, which knows no time limit of its own, for no longer than the deadline."""
        answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, port))
            except (OSError, UnicodeError):
                answers.put([])

        threading.Thread(target=ask, daemon=True).start()
        try:
            return answers.get(timeout=_left(self._deadline))
        except queue.Empty as error:
            raise httpcore2.ConnectTimeout("the resolver gave no answer") from error


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline, so that a slow drip of bytes cannot hold it open."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises ReadTimeout where it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore2.ReadTimeout("the time for this picture is over")
    return seconds
