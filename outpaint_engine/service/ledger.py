"""Credits: an append-only ledger, and each account's balance beside it. Every function joins a transaction.

    grant +n        an operator gave credits
    hold -price     written with the job; the balance pays for it at once
    capture 0       written with the result; the hold has become the charge
    release +price  the job failed or was cancelled; the hold is given back

A job has one hold and, once finished, exactly one capture or release: two unique indexes enforce it.
"""

from sqlalchemy import Connection, func, insert, select, update

from .tables import accounts, ledger

__all__ = ["balance", "capture", "grant", "hold", "open_holds", "release"]


def grant(connection: Connection, owner: str, amount: int, at: float) -> int:
    """Add credits (or take some away, with a negative amount); returns the new balance."""
    _append(connection, owner, "grant", amount, None, at)
    return balance(connection, owner)


def hold(connection: Connection, owner: str, price: int, job: str, at: float) -> bool:
    """Set the price of a job aside; False, and nothing done, where the balance is too small."""
    enough = accounts.c.balance >= price
    paid = connection.execute(
        update(accounts).where(accounts.c.owner == owner, enough).values(balance=accounts.c.balance - price)
    )
    if not paid.rowcount:
        return False
    _write(connection, owner, "hold", -price, job, at)
    return True


def capture(connection: Connection, owner: str, job: str, at: float) -> None:
    """Make the hold final."""
    _append(connection, owner, "capture", 0, job, at)


def release(connection: Connection, owner: str, price: int, job: str, at: float) -> None:
    """Give the hold back."""
    _append(connection, owner, "release", price, job, at)


def balance(connection: Connection, owner: str) -> int:
    """Credits that are neither spent nor held, in millionths; 0 for an unknown owner."""
    return connection.execute(select(accounts.c.balance).where(accounts.c.owner == owner)).scalar_one_or_none() or 0


def open_holds(connection: Connection) -> int:
    """How many holds were neither captured nor released."""
    settled = select(ledger.c.job).where(ledger.c.kind.in_(("capture", "release")))
    held = select(func.count()).where(ledger.c.kind == "hold", ledger.c.job.not_in(settled))
    return connection.execute(held).scalar_one()


def _append(connection: Connection, owner: str, kind: str, amount: int, job: str | None, at: float) -> None:
    connection.execute(update(accounts).where(accounts.c.owner == owner).values(balance=accounts.c.balance + amount))
    _write(connection, owner, kind, amount, job, at)


def _write(connection: Connection, owner: str, kind: str, amount: int, job: str | None, at: float) -> None:
    row = {"owner": owner, "kind": kind, "amount": amount, "job": job, "at": at}
    connection.execute(insert(ledger).values(row))
