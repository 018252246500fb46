"""Fetching the picture that a request names by URL, without becoming a way into the server's own network.

The URL's text is never trusted to say where it leads: whatever form the host takes, it is resolved once, every
address it has must be public, and the connection goes to the very address that was checked (`network.py`). So odd
spellings of 127.0.0.1, names that resolve inward and names that change between look-ups (DNS rebinding)
all end at one check. Redirects are followed by hand and start over.

httpcore2 is used, below httpx2, because a network backend is a public parameter of its connection pool: the
check sits where the socket is opened, TLS still verifies the host's name, and no proxy, cookie, decompression or
automatic redirect happens at this level. It comes with `tokenizers`, so nothing is added to an installation.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httpcore2

from ...errors import ImageError
from .network import CheckedNetwork, Resolve, is_public, system_addresses

__all__ = ["FetchLimits", "TooManyBytes", "fetch_image"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PORTS = {"http": 80, "https": 443}
MAX_URL = 8000
HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})")
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

UNREADABLE = "image's URL, or one that it redirects to, is not one that can be read."
NO_ANSWER = "image could not be fetched: its host does not answer as a web server should."


class TooManyBytes(ImageError):
    """The body has more bytes than allowed."""


@dataclass(frozen=True)
class FetchLimits:
    """How much one picture's URL may cost: bytes of its body, seconds in all, redirects, and the ports allowed."""

    max_bytes: int = 16_000_000
    max_seconds: float = 10.0
    max_redirects: int = 3
    ports: frozenset[int] = frozenset(PORTS.values())


DEFAULT_LIMITS = FetchLimits()


def fetch_image(
    url: str,
    limits: FetchLimits = DEFAULT_LIMITS,
    *,
    resolve: Resolve = system_addresses,
    allowed: Callable[[str], bool] = is_public,
) -> bytes:
    """Return the bytes behind an http or https URL. What they are is for the reader of pictures to find out.

    `resolve` (host, port to numeric addresses) and `allowed` (numeric address to yes or no) are there for tests
    and for servers with a network of their own.

    Raises:
        TooManyBytes: there are more bytes than `limits` allow.
        ImageError: the URL is refused or gives no picture within the limits. The message names no address.
    """
    network = CheckedNetwork(time.monotonic() + limits.max_seconds, resolve, allowed)
    try:
        with httpcore2.ConnectionPool(network_backend=network) as pool:
            for _ in range(limits.max_redirects + 1):
                body, url = _one_answer(pool, url, limits)
                if body is not None:
                    return body
    except httpcore2.TimeoutException as error:
        raise ImageError(f"image could not be fetched within {limits.max_seconds:g} seconds.") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise ImageError(NO_ANSWER) from error
    raise ImageError(f"image's URL redirects more than {limits.max_redirects} times. Use the address it ends at.")


def _one_answer(pool: httpcore2.ConnectionPool, url: str, limits: FetchLimits) -> tuple[bytes | None, str]:
    """Ask once. Returns the body, or None and where the answer redirects to."""
    parts, host, port = _checked(url, limits)
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~") if parts.query else ""
    )
    shown = f"[{host}]" if ":" in host else host
    headers: dict[bytes | str, bytes | str] = {
        "Host": shown if port == PORTS[parts.scheme] else f"{shown}:{port}",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "User-Agent": "outpaint_engine",
    }
    where = httpcore2.URL(scheme=parts.scheme, host=host, port=port, target=target)
    with pool.stream("GET", where, headers=headers) as answer:
        received = {name.lower(): value for name, value in answer.headers}
        if answer.status in REDIRECTS and b"location" in received:
            return None, _joined(url, received[b"location"].decode("latin-1"))
        if answer.status != 200:
            raise ImageError(f"image could not be fetched: its server answered {answer.status}.")
        if received.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise ImageError("image could not be fetched: its server sends it compressed, which was not asked for.")
        return _body(answer.iter_stream(), limits.max_bytes), url


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise ImageError(UNREADABLE) from error


def _checked(url: str, limits: FetchLimits) -> tuple[SplitResult, str, int]:
    """Take a URL apart: its parts, its host in ASCII, its port."""
    if len(url) > MAX_URL:
        raise ImageError(f"image's URL is longer than {MAX_URL} characters.")
    if UNSAFE.search(url):
        raise ImageError("image's URL must have no spaces, control characters or backslashes.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        # The codec also turns the dots of other scripts into dots, and refuses labels that are too long.
        host = str(IPv6Address(host)) if ":" in host else host.encode("idna").decode("ascii").lower()
    except ValueError as error:
        raise ImageError(UNREADABLE) from error
    if parts.scheme not in PORTS:
        raise ImageError("image must be an http or https URL, a data URL, or base64 text.")
    if parts.username is not None or parts.password is not None:
        raise ImageError("image's URL must carry no user name or password.")
    if not (":" in host or HOST.fullmatch(host)):
        raise ImageError("image's URL has no host that can be read.")
    port = PORTS[parts.scheme] if port is None else port
    if port not in limits.ports:
        raise ImageError(f"image's URL must use port {' or '.join(map(str, sorted(limits.ports)))}.")
    return parts, host, port


def _body(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """What was really sent counts: a Content-Length may lie."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise TooManyBytes(f"image is larger than {max_bytes:,} bytes.")
    return bytes(body)
