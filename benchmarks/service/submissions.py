"""`python -m benchmarks.service.submissions URL`: submissions into an empty PostgreSQL database, beside plain inserts.

The same number of threads write, in turns: single rows, each its own transaction, with psycopg alone and through
SQLAlchemy, by which the service writes; and submissions as the routes make them (limits, hold, ledger, idempotency
key), by one account and by one a thread. Files of pictures are left out: how fast they are written is the disk's
matter. Written to benchmarks/results/service/submissions.json.
"""

import itertools
import json
import os
import platform
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import Engine, text

from outpaint_engine.machine import usable_cores
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.jobs import Jobs
from outpaint_engine.service.queue.memory import Memory
from outpaint_engine.service.queue.orders import Order, Retry
from outpaint_engine.service.queue.store import Store

ROUNDS, SECONDS, THREADS = 6, 2.0, (8, 40)
RESULT = Path("benchmarks/results/service/submissions.json")
FIELDS = {
    "prompt": "sunset mountains behind a lake, photograph, soft light",
    "negative_prompt": "",
    "width": 512,
    "height": 512,
    "num_inference_steps": 25,
    "strength": 1.0,
    "guidance_scale": 7.5,
    "seed": 7,
}
Work = Callable[[int], None]


class NoPictures(Files):
    """Keeps everything but pictures."""

    def keep_picture(self, job: str, content: bytes) -> None:
        """Leave it."""


def main(url: str) -> None:
    limits = Configuration(
        max_queued=10**6, account_queued=10**6, requests_per_minute=10**6, max_wait_seconds=1e9, price=0
    )
    store = Store(url)
    submit = Jobs(store, NoPictures(Path(tempfile.mkdtemp())), limits, Memory(store)).submit
    accounts = Accounts(store)
    for number in range(max(THREADS)):
        accounts.create_key(f"account-{number}")
    order = Order(b"", FIELDS, base64=False)

    def submission(owner: str) -> None:
        submit(order, owner, awaited=False, retry=Retry(secrets.token_hex(8), "0" * 64))

    plain = Plain(url, max(THREADS))
    ways: dict[str, Work] = {
        "plain inserts": plain.insert,
        "plain inserts, SQLAlchemy": lambda _: plain.insert_by(store.engine),
        "submissions, one account": lambda _: submission("account-0"),
        "submissions, an account a thread": lambda number: submission(f"account-{number}"),
    }
    rates: dict[str, dict[str, list[float]]] = {}
    for threads in THREADS:
        found = rates[f"{threads} threads"] = {name: [] for name in ways}
        for turn in range(ROUNDS):
            for name, work in list(ways.items())[:: 1 if turn % 2 else -1]:
                found[name].append(round(rate(work, threads), 1))
                forget(store)
        base = median(found["plain inserts"])
        for name, values in found.items():
            print(f"{threads} threads, {name}: {median(values):.0f} a second, {median(values) / base:.2f} of plain")
    RESULT.write_text(json.dumps({**setting(url), "a_second": rates}, indent=1) + "\n")


class Plain:
    """One table and a connection a thread."""

    statement = text("INSERT INTO plain VALUES (:id, :owner, :fields)")

    def __init__(self, url: str, threads: int) -> None:
        url = url.replace("+psycopg", "")
        self._connections = [psycopg.connect(url, autocommit=True) for _ in range(threads)]
        self._connections[0].execute("DROP TABLE IF EXISTS plain")
        self._connections[0].execute("CREATE TABLE plain (id text PRIMARY KEY, owner text, fields text)")

    def insert(self, number: int) -> None:
        """Write one row."""
        self._connections[number].execute("INSERT INTO plain VALUES (%s, %s, %s)", row())

    def insert_by(self, engine: Engine) -> None:
        """Write one row through the pool of the store."""
        with engine.begin() as connection:
            connection.execute(self.statement, dict(zip(("id", "owner", "fields"), row(), strict=True)))


def row() -> tuple[str, str, str]:
    """One of the size of a job."""
    return secrets.token_hex(16), "account-0", json.dumps(FIELDS)


def rate(work: Work, threads: int) -> float:
    """How often a second the work is done by so many threads."""
    done, start = itertools.count(), threading.Barrier(threads + 1)
    until = 0.0

    def repeat(number: int) -> None:
        work(number)
        start.wait()
        start.wait()
        while time.perf_counter() < until:
            work(number)
            next(done)

    running = [threading.Thread(target=repeat, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    start.wait()
    began = time.perf_counter()
    until = began + SECONDS
    start.wait()
    for thread in running:
        thread.join()
    return next(done) / (time.perf_counter() - began)


def forget(store: Store) -> None:
    """Empty the tables, so that no way finds what the one before left."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE plain, idempotency, ledger, jobs")


def setting(url: str) -> dict[str, Any]:
    """What the figures depend on."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        server = connection.info.server_version
        (durable,) = connection.execute("SHOW synchronous_commit").fetchone() or ("",)
    return {
        "cores": usable_cores(),
        "machine": platform.machine(),
        "load": os.getloadavg(),
        "postgresql": server,
        "synchronous_commit": durable,
        "versions": {name: version(name) for name in ("psycopg", "sqlalchemy")} | {"python": platform.python_version()},
        "date": date.today().isoformat(),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
