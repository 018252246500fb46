"""The socket's side of fetching by URL: resolve once, check every address, connect to one that was checked, in time.

Only addresses of the public internet are allowed: a server that fetches on a stranger's behalf must not be a way
into the network that it stands in.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpcore2

from ...errors import ImageError

__all__ = ["CheckedNetwork", "Resolve", "is_public", "system_addresses"]

Resolve = Callable[[str, int], list[str]]
"""Host and port to all its numeric addresses; OSError or an empty list where it has none."""

MAX_ADDRESSES = 4
CONNECT_SECONDS = 3.0
NOT_PUBLIC = "image's URL leads to a host that is unknown or not public. Use a public address, or send the picture."

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = frozenset({0x00005EFE, 0x02005EFE})

# Assigned as public or too new for some Python's table, yet not places to fetch a picture from.
SPECIAL = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT; a cloud's metadata service answers at 100.100.100.200
    IPv4Network("168.63.129.16/32"),  # Azure's host agent, reachable only from inside its machines
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a cloud's metadata service answers at 192.0.0.192
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
SPECIAL_6 = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo and ORCHID among them
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
)


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
        try:
            secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        except BaseException:
            # The pool closes only what it was handed.
            self.close()
            raise
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises ReadTimeout where it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore2.ReadTimeout("the time for this picture is over")
    return seconds


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the public internet's; False for what is no address.

    An IPv6 address that carries an IPv4 address inside (mapped, compatible, 6to4, Teredo, ISATAP) is refused
    whatever it carries: no picture's host needs one. The one exception is NAT64's well-known prefix, by which
    a machine without IPv4 reaches the whole IPv4 internet; there the address inside is what counts.
    The registries: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_4(parsed) if isinstance(parsed, IPv4Address) else _is_public_6(parsed)


def _is_public_4(address: IPv4Address) -> bool:
    # `is_global` alone passes multicast.
    plain = address.is_global and not address.is_multicast and not address.is_reserved
    return plain and not any(address in network for network in SPECIAL)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    number = int(address)
    if address in NAT64:
        return _is_public_4(IPv4Address(number & 0xFFFFFFFF))
    plain = address in GLOBAL_UNICAST and address.is_global and not address.is_multicast
    isatap = (number >> 32 & 0xFFFFFFFF) in ISATAP
    return plain and not isatap and not any(address in network for network in SPECIAL_6)
