"""The process is killed at every transition, started again, and everything adds up.

A few transitions are in every run; `OUTPAINT_CRASHES=20 python -m pytest tests/service/queue/test_crashes.py` takes all
of them, 20 times each: a crash is mostly waiting for a lease to end, so several are made beside each other.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from outpaint_engine.service.queue import ledger
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Account, Entry, Job

from ..failpoints import FAILPOINTS
from ..running import until
from ..toy_server import main, url_of

REPEATS = int(os.environ.get("OUTPAINT_CRASHES", "0"))
AT_ONCE = 10
ALONE, SHARED = False, True
EVERY = [point for point in FAILPOINTS if not point.startswith("grant")]
"""Grants are made by an operator's command, not by the server."""
FEW = [
    ("sqlite", ALONE, "submit:committed"),
    ("postgresql", ALONE, "publish:uncommitted"),
    ("postgresql", SHARED, "publish:committed"),
]
KINDS = (("sqlite", ALONE), ("postgresql", ALONE), ("postgresql", SHARED))
CASES = [(*kind, point) for kind in KINDS for point in EVERY] if REPEATS else FEW
PASSES = {"submit": 3, "picture": 3, "claim": 2, "beat": 3}
"""How often a day passes a transition for certain, so that repeats die at another pass."""
GRANTED = 10_000_000
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.service.toy_server"])
ONE_LOOKS = threading.Lock()
"""Starting a process looks at all others, and how one ended can be read only once."""


class Process:
    """The service in its own process; `failpoint` says where it dies."""

    def __init__(self, database: str, folder: Path, failpoint: str = "", shared: bool = False) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.url = url_of(listening)
            self._process = FORKS.Process(target=main, args=(database, str(folder), listening, failpoint, shared))
            with ONE_LOOKS:
                self._process.start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def code(self) -> int | None:
        with ONE_LOOKS:
            return self._process.exitcode

    def end(self) -> None:
        self._process.terminate()

    def ready(self, client: httpx2.Client) -> bool:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.code is None:
            try:
                if client.get(f"{self.url}/readyz").status_code == 200:
                    return True
            except httpx2.HTTPError:
                time.sleep(0.05)
        return False


def a_day(client: httpx2.Client, url: str, body: dict[str, Any]) -> list[str]:
    """One of everything that a client does; returns the requests that were accepted."""
    accepted = []

    def v2(fields: dict[str, Any], key: str = "") -> str:
        headers = {"Idempotency-Key": key} if key else {}
        answer = client.post(f"{url}/v2/sd1.5-outpaint", json=body | fields, headers=headers)
        assert answer.status_code == 200, answer.text
        accepted.append(answer.json()["request_id"])
        return accepted[-1]

    try:
        first = v2({"num_inference_steps": 8}, "once")
        client.get(f"{url}/v2/requests/{first}/status?preview=true")
        v2({"image": body["image"][:300]})
        v2({"img_width": 128})
        client.delete(f"{url}/v2/requests/{v2({'num_inference_steps': 40})}")
        client.post(f"{url}/v1/sd1.5-outpaint", json=body | {"num_inference_steps": 32})
        v2({"num_inference_steps": 40})
    except httpx2.HTTPError:
        pass  # the process has died, as it should
    return accepted


def all_ended(store: Store) -> bool:
    with store.reading() as session:
        ended = Job.state.in_(("COMPLETED", "FAILED"))
        return not session.scalar(select(func.count()).where(~ended))


def check_books(store: Store, folder: Path, granted: int = GRANTED) -> None:
    """The ledger adds up to the balance, every hold is settled once, and every result that is named is there."""
    with store.reading() as session:
        balance = session.scalar(select(Account.balance))
        total = session.scalar(select(func.sum(Entry.amount)))
        completed = session.scalars(select(Job).where(Job.state == "COMPLETED")).all()
        captures = session.scalars(select(Entry.job).where(Entry.kind == "capture")).all()
        holds = session.scalar(select(func.count()).where(Entry.kind == "hold"))
        count = session.scalar(select(func.count()).select_from(Job))
        assert ledger.open_holds(session) == 0
    assert balance == total == granted - sum(job.price for job in completed)
    assert sorted(captures) == sorted(job.id for job in completed)
    assert holds == count
    for job in completed:
        assert (folder / "results" / f"{job.result}.jpg").read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(("new_store", "shared", "point"), CASES, indirect=["new_store"])
def test_nothing_is_lost_or_charged_twice_when_the_process_dies(
    new_store: Callable[[], str], tmp_path: Path, body: dict[str, Any], shared: bool, point: str
) -> None:
    passes = PASSES.get(point.partition(":")[0], 1)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        crashes = [
            pool.submit(
                die_and_go_on, new_store(), tmp_path / f"results{turn}", body, f"{point}@{1 + turn % passes}", shared
            )
            for turn in range(max(1, REPEATS))
        ]
    for crash in crashes:
        crash.result()


def die_and_go_on(database: str, folder: Path, body: dict[str, Any], failpoint: str, shared: bool) -> None:
    """A process dies there in the middle of a day, a second one goes on, and everything adds up."""
    store = Store(database)
    key = Accounts(store).create_key("tester", GRANTED)
    with store.transition("submit") as session:
        # Something that is old enough to be pruned.
        old = {"fields": "{}", "seed": 0, "base64": False, "price": 0, "created": 0.0, "finished": 0.0}
        session.add(Job(id="0" * 32, owner="tester", state="FAILED", **old))
    with httpx2.Client(headers={"x-api-key": key}, timeout=20) as client:
        with Process(database, folder, failpoint, shared) as doomed:
            accepted = a_day(client, doomed.url, body) if doomed.ready(client) else []
            if failpoint.startswith("give_back"):
                doomed.end()
            assert until(lambda: doomed.code, 30) == -signal.SIGKILL
        with Process(database, folder, shared=shared) as second:
            assert second.ready(client)
            repeated = client.post(
                f"{second.url}/v2/sd1.5-outpaint",
                json=body | {"num_inference_steps": 8},
                headers={"Idempotency-Key": "once"},
            )
            assert repeated.status_code == 200
            assert repeated.json()["request_id"] in accepted or not accepted
            until(lambda: all_ended(store), 30)
            for identity in accepted:
                assert client.get(f"{second.url}/v2/requests/{identity}").json()["status"] in ("COMPLETED", "FAILED")
    check_books(store, folder)
    store.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("new_store", ["postgresql"], indirect=True)
def test_two_processes_share_a_store_and_one_finishes_what_the_other_died_on(
    new_store: Callable[[], str], tmp_path: Path, body: dict[str, Any]
) -> None:
    database, folder = new_store(), tmp_path / "results"
    store = Store(database)
    key = Accounts(store).create_key("tester", GRANTED)
    with (
        httpx2.Client(headers={"x-api-key": key}, timeout=20) as client,
        Process(database, folder, shared=True) as healthy,
        Process(database, folder, "claim:committed@3", shared=True) as doomed,
    ):
        assert healthy.ready(client) and doomed.ready(client)
        for _ in range(10):
            answer = client.post(f"{healthy.url}/v2/sd1.5-outpaint", json=body | {"num_inference_steps": 16})
            assert answer.status_code == 200
        assert until(lambda: doomed.code, 30) == -signal.SIGKILL
        until(lambda: all_ended(store), 20)
    check_books(store, folder)
    with store.reading() as session:
        assert set(session.scalars(select(Job.state))) == {"COMPLETED"}
    store.close()
