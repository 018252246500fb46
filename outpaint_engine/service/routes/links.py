"""Addresses of results: signed with the store's secret, good for a time, and built from the configured host only."""

import hashlib
import hmac
import re
from collections.abc import Callable

__all__ = ["Links"]


class Links:
    """Makes and checks links."""

    def __init__(self, public_url: str, secret: str, seconds: float, clock: Callable[[], float]) -> None:
        self._base, self._secret = public_url.rstrip("/"), bytes.fromhex(secret)
        self._seconds, self._clock = seconds, clock

    def plain(self, path: str) -> str:
        """The public address of a path; reading it takes the owner's key."""
        return self._base + path

    def signed(self, path: str) -> str:
        """An address that whoever has it may read, until it expires."""
        expires = str(int(self._clock() + self._seconds))
        return f"{self._base}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def allows(self, path: str, expires: str, signature: str) -> bool:
        """Whether a signature is ours and has not expired."""
        if not re.fullmatch(r"[0-9]{1,12}", expires, re.ASCII) or int(expires) < self._clock():
            return False
        return hmac.compare_digest(self._signature(path, expires).encode(), signature.encode(errors="replace"))

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
