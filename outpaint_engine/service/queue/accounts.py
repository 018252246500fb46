"""Who may call: accounts, which own credits, and their API keys, which are shown once and kept as SHA-256."""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from sqlalchemy import select, update

from ...errors import RequestError
from . import ledger
from .store import Store, changed
from .tables import Account, Key

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
        with self._store.transition("grant") as session:
            if session.get(Account, owner) is None:
                session.add(Account(owner=owner))
                session.flush()
            session.add(Key(id=identity, owner=owner, sha256=_digest(key), created=now))
            if credits:
                ledger.grant(session, owner, credits, now)
        return key

    def grant(self, owner: str, credits: int) -> int:
        """Give an account credits (millionths); returns its balance.

        Raises:
            RequestError: there is no such account.
        """
        with self._store.transition("grant") as session:
            if session.get(Account, owner) is None:
                raise RequestError(f"There is no account {owner!r}: see `outpaint keys list`.")
            return ledger.grant(session, owner, credits, self._store.clock())

    def disable(self, identity: str) -> None:
        """Make a key useless; its account and other keys stay.

        Raises:
            RequestError: there is no such key.
        """
        with self._store.transition("grant") as session:
            change = update(Key).where(Key.id == identity).values(disabled=self._store.clock())
            if not changed(session, change):
                raise RequestError(f"There is no key {identity!r}: see `outpaint keys list`.")

    def list(self) -> list[KeyFacts]:
        """Every key, oldest first."""
        query = select(Key, Account.balance).join(Account).order_by(Key.created)
        with self._store.reading() as session:
            rows = session.execute(query).all()
        return [KeyFacts(key.id, key.owner, key.created, key.disabled is not None, balance) for key, balance in rows]

    def owner_of(self, key: str) -> str | None:
        """The account of an enabled key; None for any other text, in the same time."""
        identity = key.split("_")[1] if key.count("_") >= 2 else ""
        with self._store.reading() as session:
            found = session.get(Key, identity)
        same = hmac.compare_digest(found.sha256 if found else NOBODY, _digest(key))
        return found.owner if found is not None and same and found.disabled is None else None

    def balance(self, owner: str) -> int:
        """Credits left, in millionths."""
        with self._store.reading() as session:
            return ledger.balance(session, owner)

    def any_enabled(self) -> bool:
        """Whether somebody could call at all."""
        with self._store.reading() as session:
            return session.scalar(select(Key.id).where(Key.disabled.is_(None)).limit(1)) is not None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
