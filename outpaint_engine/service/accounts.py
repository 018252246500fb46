"""Who may call: accounts, which own credits, and their API keys, which are shown once and kept as SHA-256."""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from ..errors import RequestError
from . import ledger
from .store import Store
from .tables import accounts, keys

__all__ = ["Accounts", "KeyFacts"]

PREFIX = "oe"
NOBODY = hashlib.sha256(b"").hexdigest()


class KeyFacts(NamedTuple):
    """What may be told of a key; `balance` is its account's, in millionths of a credit."""

    id: str
    owner: str
    created: float
    disabled: bool
    balance: int


class Accounts:
    """Makes, lists, disables and checks keys, and grants credits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_key(self, owner: str, credits: int = 0) -> str:
        """A new key for a new or known account, which gets `credits` millionths; the only time that it is seen.

        Raises:
            RequestError: the owner's name is empty or longer than 200 characters.
        """
        if not 0 < len(owner) <= 200:
            raise RequestError("An account's name must have 1 to 200 characters.")
        identity = secrets.token_hex(4)
        key = f"{PREFIX}_{identity}_{secrets.token_urlsafe(24)}"
        now = self._store.clock()
        with self._store.transition("grant") as connection:
            if not _known(connection, owner):
                connection.execute(insert(accounts).values(owner=owner, balance=0))
            row = {"id": identity, "owner": owner, "sha256": _digest(key), "created": now}
            connection.execute(insert(keys).values(row))
            if credits:
                ledger.grant(connection, owner, credits, now)
        return key

    def grant(self, owner: str, credits: int) -> int:
        """Give an account credits (millionths); returns its balance.

        Raises:
            RequestError: there is no such account.
        """
        with self._store.transition("grant") as connection:
            if not _known(connection, owner):
                raise RequestError(f"There is no account {owner!r}: see `outpaint keys list`.")
            return ledger.grant(connection, owner, credits, self._store.clock())

    def disable(self, identity: str) -> None:
        """Make a key useless; its account and other keys stay.

        Raises:
            RequestError: there is no such key.
        """
        with self._store.transition("grant") as connection:
            change = update(keys).where(keys.c.id == identity).values(disabled=self._store.clock())
            if not connection.execute(change).rowcount:
                raise RequestError(f"There is no key {identity!r}: see `outpaint keys list`.")

    def list(self) -> list[KeyFacts]:
        """Every key, oldest first."""
        query = select(keys, accounts.c.balance).join(accounts).order_by(keys.c.created)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return [KeyFacts(row.id, row.owner, row.created, row.disabled is not None, row.balance) for row in rows]

    def owner_of(self, key: str) -> str | None:
        """The account of an enabled key; None for any other text, in the same time."""
        identity = key.split("_")[1] if key.count("_") >= 2 else ""
        with self._store.reading() as connection:
            row = connection.execute(select(keys).where(keys.c.id == identity)).one_or_none()
        same = hmac.compare_digest(row.sha256 if row else NOBODY, _digest(key))
        return str(row.owner) if row is not None and same and row.disabled is None else None

    def balance(self, owner: str) -> int:
        """Credits left, in millionths."""
        with self._store.reading() as connection:
            return ledger.balance(connection, owner)

    def any_enabled(self) -> bool:
        """Whether somebody could call at all."""
        with self._store.reading() as connection:
            return connection.execute(select(keys.c.id).where(keys.c.disabled.is_(None)).limit(1)).first() is not None


def _known(connection: Connection, owner: str) -> bool:
    return connection.execute(select(accounts.c.owner).where(accounts.c.owner == owner)).first() is not None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
