"""Submissions of several threads are written together, and each is let in or refused as if it were alone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue import ledger
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.jobs import Jobs
from outpaint_engine.service.queue.memory import Memory
from outpaint_engine.service.queue.orders import Order, Retry
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Account, Entry, Job
from outpaint_engine.service.refusals import InsufficientCredits, QueueFull, Refusal, TooManyRequests

from ..running import until
from .conftest import new_database

THREADS, PRICE = 12, 10
FIELDS = {"prompt": "a quiet sea", "width": 64, "height": 64, "num_inference_steps": 5, "strength": 1.0, "seed": 7}
ORDER = Order(b"", FIELDS, base64=False)
WAYS = [("sqlite", True), ("postgresql", True), ("postgresql", False)]


class Desk:
    """Where jobs are submitted: by one server that has the store alone, or by two that share it."""

    def __init__(self, url: str, folder: Path, alone: bool, stack: ExitStack) -> None:
        self.stores = [stack.enter_context(closing(Store(url))) for _ in range(1 if alone else 2)]
        self.folder, self.alone = folder, alone

    def opened(self, **limits: Any) -> list[Jobs]:
        """The servers, with these limits."""
        configuration = Configuration(price=PRICE, **limits)
        memory = Memory(self.stores[0]) if self.alone else None
        return [Jobs(store, Files(self.folder), configuration, memory) for store in self.stores]

    @property
    def written(self) -> list[int]:
        """Jobs, open holds, entries, and the sum of all balances."""
        with self.stores[0].reading() as session:
            count = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Job, Entry)]
            left = session.scalar(select(func.sum(Account.balance))) or 0
            return [count[0], ledger.open_holds(session), count[1], int(left)]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-{'alone' if way[1] else 'shared'}")
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    kind, alone = request.param
    url = f"sqlite:///{tmp_path}/store.db"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgresql"))
    with ExitStack() as stack:
        yield Desk(url, tmp_path, alone, stack)


def at_once(submit: Callable[[int], Any]) -> list[Any]:
    """What so many threads that begin together get: a submission, or the error."""
    start = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        start.wait()
        try:
            return submit(number)
        except (Refusal, IntegrityError) as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


@pytest.mark.parametrize(
    ("limits", "credits", "refusal"),
    [
        ({"max_queued": 5}, 1000, QueueFull),
        ({"requests_per_minute": 5}, 1000, TooManyRequests),
        ({}, 5 * PRICE, InsufficientCredits),
    ],
)
def test_no_more_are_let_in_than_the_bounds_allow(
    desk: Desk, limits: dict[str, int], credits: int, refusal: type[Refusal]
) -> None:
    Accounts(desk.stores[0]).create_key("ann", credits)
    servers = desk.opened(**limits)
    answers = at_once(lambda number: servers[number % len(servers)].submit(ORDER, "ann", awaited=False))
    assert sum(isinstance(answer, refusal) for answer in answers) == THREADS - 5
    assert desk.written == [5, 5, 6, credits - 5 * PRICE]


def test_one_key_makes_one_job_however_many_threads_send_it(desk: Desk) -> None:
    Accounts(desk.stores[0]).create_key("ann", 1000)
    servers, retry = desk.opened(), Retry("once", "0" * 64)
    answers = at_once(lambda number: servers[number % len(servers)].submit(ORDER, "ann", awaited=False, retry=retry))
    assert len({answer.job.id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert desk.written[:3] == [1, 1, 2]


def test_what_the_store_refuses_in_one_is_no_reason_to_refuse_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server, *_) = desk.opened()
    Accounts(desk.stores[0]).create_key("ann", 1000)
    new = Jobs._new

    def made(self: Jobs, order: Order, owner: str, awaited: bool) -> Job:
        job = new(self, order, owner, awaited)
        if order.door == "twins":
            job.id = "1" * 32
        return job

    monkeypatch.setattr(Jobs, "_new", made)
    doors = ["twins" if number < 2 else "" for number in range(THREADS)]
    orders = [Order(b"", FIELDS, base64=False, door=door) for door in doors]
    answers = at_once(lambda number: server.submit(orders[number], "ann", awaited=False))
    assert sum(isinstance(answer, IntegrityError) for answer in answers) == 1
    assert desk.written[:3] == [THREADS - 1, THREADS - 1, THREADS]


def test_a_request_for_several_is_written_whole_or_not_at_all(desk: Desk) -> None:
    Accounts(desk.stores[0]).create_key("ann", 1000)
    (server, *_) = desk.opened(max_queued=4)
    assert len(server.submit_all([ORDER] * 3, "ann", awaited=False)) == 3
    with pytest.raises(QueueFull):
        server.submit_all([ORDER] * 2, "ann", awaited=False)
    server.submit(ORDER, "ann", awaited=False)
    assert desk.written[:3] == [4, 4, 5]


def test_those_who_come_while_others_are_written_share_a_transaction(desk: Desk) -> None:
    Accounts(desk.stores[0]).create_key("ann", 1000)
    (server, *_) = desk.opened()
    begun, go_on, written = threading.Event(), threading.Event(), []

    def passing(point: str) -> None:
        if point == "submit:uncommitted":
            written.append(point)
            begun.set()
            assert go_on.wait(10)

    desk.stores[0].passing = passing
    with ThreadPoolExecutor(THREADS) as pool:
        first = pool.submit(server.submit, ORDER, "ann", awaited=False)
        assert begun.wait(10)
        others = [pool.submit(server.submit, ORDER, "ann", awaited=False) for _ in range(THREADS - 1)]
        until(lambda: len(server._submitting._waiting) == THREADS - 1)
        go_on.set()
        assert len({each.result().job.id for each in (first, *others)}) == THREADS
    assert len(written) == 2
