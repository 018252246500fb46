"""Credits: an append-only ledger, and each account's balance beside it. Every function joins a transaction.

    grant +n        an operator gave credits
    hold -price     written with the job; the balance pays for it at once
    capture 0       written with the result; the hold has become the charge
    release +price  the job failed or was cancelled; the hold is given back

A job has one hold and, once finished, exactly one capture or release: two unique indexes enforce it.
"""

from collections.abc import Mapping

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from .rows import Rows
from .tables import Account, Entry

__all__ = ["MICROS", "Balances", "balance", "capture", "credits_text", "grant", "open_holds", "release"]

MICROS = 1_000_000
"""Credits are counted in whole millionths, so that sums are exact."""


def credits_text(micros: int) -> str:
    """Millionths of a credit as a decimal number without needless zeros: 10900 is "0.0109"."""
    sign, (whole, part) = "-" * (micros < 0), divmod(abs(micros), MICROS)
    return f"{sign}{whole}.{part:06d}".rstrip("0").rstrip(".")


def grant(session: Session, owner: str, amount: int, at: float) -> int:
    """Add credits (or take some away, with a negative amount); returns the new balance."""
    _append(session, owner, "grant", amount, None, at)
    return balance(session, owner)


class Balances:
    """The balances of some accounts, whose rows the transaction holds; what is set aside is written at once."""

    def __init__(self, left: Mapping[str, int]) -> None:
        self._left, self._held = dict(left), list[tuple[str, int, str]]()

    def left(self, owner: str) -> int:
        """What is neither spent nor held; 0 for an unknown owner."""
        return self._left.get(owner, 0)

    def hold(self, owner: str, price: int, job: str) -> None:
        """Set the price of a job aside; the balance must be large enough."""
        self._left[owner] = self._left.get(owner, 0) - price
        self._held.append((owner, price, job))

    def rows(self, at: float) -> tuple[Rows, Rows]:
        """What is to be written: the ledger's new rows, and the accounts' balances, in the order of their names."""
        entries = [
            {"owner": owner, "kind": "hold", "amount": -price, "job": job, "at": at} for owner, price, job in self._held
        ]
        owners = sorted({owner for owner, _, _ in self._held})
        return entries, [{"owner": owner, "balance": self._left[owner]} for owner in owners]


def capture(session: Session, owner: str, job: str, at: float) -> None:
    """Make the hold final."""
    _append(session, owner, "capture", 0, job, at)


def release(session: Session, owner: str, price: int, job: str, at: float) -> None:
    """Give the hold back."""
    _append(session, owner, "release", price, job, at)


def balance(session: Session, owner: str) -> int:
    """Credits that are neither spent nor held, in millionths; 0 for an unknown owner."""
    return session.scalar(select(Account.balance).where(Account.owner == owner)) or 0


def open_holds(session: Session) -> int:
    """How many holds were neither captured nor released."""
    settled = select(Entry.job).where(Entry.kind.in_(("capture", "release")))
    held = select(func.count()).where(Entry.kind == "hold", Entry.job.not_in(settled))
    return session.scalars(held).one()


def _append(session: Session, owner: str, kind: str, amount: int, job: str | None, at: float) -> None:
    change = update(Account).where(Account.owner == owner).values(balance=Account.balance + amount)
    session.execute(change)
    session.add(Entry(owner=owner, kind=kind, amount=amount, job=job, at=at))
