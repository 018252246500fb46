"""The worker's side of a job: claimed for a time, kept by heartbeats, ended exactly once. Time is the test's.

All of it holds for servers that share a store, and for one that has it alone and keeps in memory what is open.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue import ledger
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.clock import SteadyClock
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.jobs import Jobs
from outpaint_engine.service.queue.leases import Claim, Leases
from outpaint_engine.service.queue.memory import Memory
from outpaint_engine.service.queue.orders import Retry
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Job
from outpaint_engine.service.refusals import Refusal
from outpaint_engine.service.routes.schema import Contract

PRICE = 10_900


class Bench:
    """A store whose clock is `now`, an account with credits, and both sides of a job."""

    def __init__(self, folder: Path, body: dict[str, Any], *, alone: bool = False) -> None:
        self.now = 1_000_000.0
        self.configuration = Configuration(lease_seconds=10, max_attempts=2, max_queued=3, requests_per_minute=5)
        self.store = Store(f"sqlite:///{folder}/store.db", clock=lambda: self.now)
        self.results = Files(folder)
        self.accounts = Accounts(self.store)
        self.accounts.create_key("ann", 10 * PRICE)
        self.memory = Memory(self.store) if alone else None
        self.jobs = Jobs(self.store, self.results, self.configuration, self.memory)
        self.leases = Leases(self.store, self.results, self.configuration, self.memory)
        self.order = Contract(self.configuration).read(json.dumps(body).encode()).order
        self.folder = folder

    def submit(self, *, awaited: bool = False, retry: Retry | None = None) -> Job:
        return self.jobs.submit(self.order, "ann", awaited=awaited, retry=retry).job

    def claim(self) -> Claim:
        claim = self.leases.claim()
        assert claim is not None
        return claim

    def state(self, job: Job) -> Job:
        found = self.jobs.find("ann", job.id)
        assert found is not None
        return found

    @property
    def books(self) -> tuple[int, int]:
        """(pictures paid or held, holds that are open)."""
        with self.store.reading() as session:
            return 10 - ledger.balance(session, "ann") // PRICE, ledger.open_holds(session)


@pytest.fixture(params=[False, True], ids=["shared", "alone"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, body: dict[str, Any]) -> Iterator[Bench]:
    made = Bench(tmp_path, body, alone=request.param)
    yield made
    made.store.close()


def test_jobs_are_claimed_in_the_order_in_which_they_came(bench: Bench) -> None:
    first = bench.submit()
    bench.now += 1
    second = bench.submit()
    assert [bench.claim().job.id, bench.claim().job.id] == [first.id, second.id]
    assert bench.leases.claim() is None


def test_a_published_job_is_charged_and_its_picture_forgotten(bench: Bench) -> None:
    job = bench.submit()
    assert bench.leases.publish(bench.claim(), b"jpeg", b"{}", 1.5)
    found = bench.state(job)
    assert (found.state, found.remaining, found.inference) == ("COMPLETED", 9 * PRICE, 1.5)
    assert bench.results.read(str(found.result), ".jpg") == b"jpeg"
    assert bench.books == (1, 0)
    assert not list((bench.folder / "pictures").iterdir())


def test_a_lease_that_is_kept_is_not_claimed_again(bench: Bench) -> None:
    bench.submit()
    claim: Claim | None = bench.claim()
    for step in range(1, 5):
        bench.now += 9
        assert claim is not None
        claim, _ = bench.leases.beat(claim, step, 50)
        assert bench.leases.claim() is None


def test_after_a_silence_another_takes_over_and_the_first_can_neither_publish_nor_fail(bench: Bench) -> None:
    job = bench.submit()
    zombie = bench.claim()
    bench.now += 11
    heir = bench.claim()
    assert heir.job.id == job.id and heir.job.attempt == 2
    assert bench.leases.beat(zombie, 3, 50) == (None, False)
    assert not bench.leases.publish(zombie, b"old", b"{}", 1.0)
    assert not bench.leases.fail(zombie, "internal", "late")
    assert bench.leases.publish(heir, b"new", b"{}", 1.0)
    assert bench.results.read(str(bench.state(job).result), ".jpg") == b"new"
    assert bench.books == (1, 0)


def test_a_job_that_kills_its_workers_fails_in_the_end(bench: Bench) -> None:
    job = bench.submit()
    for _ in range(2):
        bench.claim()
        bench.now += 11
    assert bench.leases.claim() is None
    assert bench.state(job).state == "FAILED" and "2 times" in str(bench.state(job).error)
    assert bench.books == (0, 0)


def test_a_cancelled_job_is_lost_at_the_next_beat(bench: Bench) -> None:
    job = bench.submit()
    claim = bench.claim()
    bench.jobs.cancel("ann", job.id, "cancelled", "cancelled")
    assert bench.leases.beat(claim, 2, 50) == (None, False)
    assert bench.books == (0, 0)


def test_a_job_given_back_keeps_its_attempts(bench: Bench) -> None:
    bench.submit()
    for _ in range(5):
        claim = bench.claim()
        bench.leases.give_back(claim)
    assert bench.claim().job.attempt == 1


@pytest.mark.parametrize("claimed", [False, True])
def test_a_v1_job_that_nobody_waits_for_is_ended(bench: Bench, claimed: bool) -> None:
    job = bench.submit(awaited=True)
    claim = bench.claim() if claimed else None
    bench.now += 11
    if claim is not None:
        assert bench.leases.beat(claim, 2, 50) == (None, False)
    assert bench.leases.claim() is None
    assert bench.state(job).reason == "cancelled"
    assert bench.books == (0, 0)


def test_a_v1_job_that_is_waited_for_goes_on(bench: Bench) -> None:
    job = bench.submit(awaited=True)
    for _ in range(3):
        bench.now += 9
        bench.jobs.keep_awaiting(job.id)
    assert bench.claim().job.id == job.id


def test_a_repeated_key_finds_the_first_job(bench: Bench) -> None:
    retry = Retry("key", "a")
    (first, replayed), (again, replayed_again) = (
        bench.jobs.submit(bench.order, "ann", awaited=False, retry=retry) for _ in range(2)
    )
    assert again.id == first.id and replayed_again and not replayed
    assert bench.books == (1, 1)
    assert len(list((bench.folder / "pictures").iterdir())) == 1


def test_a_key_used_for_another_request_is_422(bench: Bench) -> None:
    bench.submit(retry=Retry("key", "a"))
    with pytest.raises(Refusal) as caught:
        bench.submit(retry=Retry("key", "b"))
    assert caught.value.status == 422
    assert bench.books == (1, 1)


def test_a_refused_request_leaves_its_key_free(bench: Bench) -> None:
    poor = bench.configuration.with_(price=11 * PRICE)
    retry = Retry("key", "a")
    with pytest.raises(Refusal):
        Jobs(bench.store, bench.results, poor).submit(bench.order, "ann", awaited=False, retry=retry)
    assert not bench.jobs.submit(bench.order, "ann", awaited=False, retry=retry).replayed


def test_a_v1_request_that_was_hung_up_leaves_its_key_free(bench: Bench) -> None:
    retry = Retry("key", "a")
    job = bench.submit(awaited=True, retry=retry)
    bench.jobs.cancel("ann", job.id, "cancelled", "hung up")
    assert bench.submit(awaited=True, retry=retry).id != job.id


def test_a_full_queue_is_503_and_nothing_is_held(bench: Bench) -> None:
    for _ in range(3):
        bench.submit()
    with pytest.raises(Refusal) as caught:
        bench.submit()
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    with pytest.raises(Refusal):
        bench.jobs.admit("ann", None, awaited=False)
    assert bench.books == (3, 3)


def test_too_many_requests_a_minute_are_429_until_the_oldest_is_a_minute_old(bench: Bench) -> None:
    for _ in range(5):
        bench.submit()
        bench.leases.publish(bench.claim(), b"", b"", 1.0)
    bench.now += 20
    with pytest.raises(Refusal) as caught:
        bench.submit()
    assert (caught.value.status, caught.value.retry_after) == (429, 40)
    bench.now += 41
    assert bench.submit().state == "QUEUED"


def test_old_results_and_strays_are_deleted_and_the_ledger_stays(bench: Bench) -> None:
    job = bench.submit(retry=Retry("key", "a"))
    bench.leases.publish(bench.claim(), b"jpeg", b"{}", 1.0)
    kept = bench.submit()
    bench.now += bench.configuration.keep_seconds + 1
    assert bench.leases.prune() == 1
    assert bench.jobs.find("ann", job.id) is None
    assert bench.jobs.find("ann", kept.id) is not None
    bench.leases.sweep()
    assert [path.name for path in bench.folder.glob("*/*")] == [kept.id]
    assert bench.books == (2, 1)


@pytest.mark.parametrize("age", [0, 1000])
def test_a_file_that_a_crash_left_is_deleted_when_it_is_old(bench: Bench, age: int) -> None:
    import os
    import time

    stray = bench.folder / "results" / "nobody-1.jpg"
    stray.write_bytes(b"")
    os.utime(stray, (time.time() - age,) * 2)
    bench.leases.sweep()
    assert stray.exists() == (age == 0)


def test_a_preview_is_made_once_each_time_it_is_asked_for(bench: Bench) -> None:
    job = bench.submit()
    claim = bench.claim()
    bench.jobs.ask_preview(job.id)
    assert bench.leases.beat(claim, 2, 50)[1]
    bench.leases.show(claim, b"small")
    assert not bench.leases.beat(claim, 3, 50)[1]
    assert bench.state(job).preview == b"small"


@pytest.mark.parametrize("bench", [False], indirect=True)
def test_progress_is_written_at_most_twice_a_second(bench: Bench) -> None:
    job = bench.submit()
    claim: Claim | None = bench.claim()
    steps: list[int] = []
    for step in range(2, 6):
        bench.now += 0.3
        assert claim is not None
        claim, _ = bench.leases.beat(claim, step, 50)
        steps.append(bench.state(job).step)
    assert steps == [0, 3, 3, 5]


def test_accounts_take_turns_however_many_jobs_one_of_them_has(bench: Bench) -> None:
    bench.accounts.create_key("bob", 10 * PRICE)
    for _ in range(2):
        bench.submit()
        bench.now += 1
    bench.jobs.submit(bench.order, "bob", awaited=False)
    assert [bench.claim().job.owner for _ in range(2)] == ["ann", "bob"]


def test_a_guest_is_of_an_account_for_which_nothing_runs_and_shorter_than_what_is_left(bench: Bench) -> None:
    bench.accounts.create_key("bob", 10 * PRICE)
    bench.submit()
    host = bench.claim()
    bench.submit()
    assert bench.leases.claim(host=host) is None
    bench.jobs.submit(bench.order, "bob", awaited=False)
    assert bench.leases.claim(host=host._replace(step=20, steps=25)) is None
    guest = bench.leases.claim(host=host._replace(step=0, steps=25))
    assert guest is not None and guest.job.owner == "bob"


def test_a_job_that_would_wait_longer_than_its_client_is_refused_with_the_time(bench: Bench) -> None:
    patient = bench.configuration.with_(inline_seconds=30.0, workers=1, max_queued=9, requests_per_minute=99)
    jobs = Jobs(bench.store, bench.results, patient)
    jobs.submit(bench.order, "ann", awaited=False)
    bench.leases.publish(bench.claim(), b"", b"", 40.0)
    jobs.submit(bench.order, "ann", awaited=True)
    with pytest.raises(Refusal) as caught:
        jobs.submit(bench.order, "ann", awaited=True)
    assert (caught.value.status, caught.value.retry_after) == (503, 10)
    assert jobs.submit(bench.order, "ann", awaited=False).job.state == "QUEUED"


def test_old_jobs_go_in_small_steps(bench: Bench) -> None:
    from sqlalchemy import insert

    row = {"owner": "ann", "state": "FAILED", "fields": "{}", "seed": 0, "base64": False, "price": 0}
    defaults = {
        "attempt": 1,
        "fence": 1,
        "step": 0,
        "steps": 0,
        "preview_asked": False,
        "created": 0.0,
        "finished": 0.0,
    }
    with bench.store.transition("submit") as session:
        session.execute(insert(Job), [row | defaults | {"id": f"{number:032x}", "work": 1.0} for number in range(250)])
    assert [bench.leases.prune() for _ in range(4)] == [100, 100, 50, 0]


def test_an_expired_wait_is_no_reason_to_keep_what_it_held(bench: Bench) -> None:
    bench.submit(awaited=True)
    claim = bench.claim()
    bench.now += 11
    assert bench.leases.beat(claim, 2, 50) == (None, False)
    assert bench.leases.lost_to(claim) == "cancelled"
    assert bench.books == (0, 0)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_is_set_moves_no_lease(step: float) -> None:
    wall = real = 1_000_000.0
    clock = SteadyClock(lambda: wall, lambda: real)
    before = clock()
    wall, real = wall + step + 10, real + 10
    assert 9.8 < clock() - before < 10.2


def test_a_store_of_the_version_before_is_brought_up_to_date(tmp_path: Path, body: dict[str, Any]) -> None:
    from sqlalchemy import create_engine, text

    bench = Bench(tmp_path, body)
    kept = bench.submit()
    bench.store.close()
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        for change in (
            "ALTER TABLE jobs DROP COLUMN format",
            "ALTER TABLE jobs DROP COLUMN door",
            "DROP INDEX jobs_by_end",
            "DROP INDEX idempotency_by_job",
            "ALTER TABLE jobs DROP COLUMN work",
            "ALTER TABLE accounts DROP COLUMN served",
            "UPDATE settings SET schema = 1",
        ):
            connection.execute(text(change))
    engine.dispose()
    again = Bench(tmp_path, body)
    assert again.claim().job.id == kept.id
    again.store.close()
