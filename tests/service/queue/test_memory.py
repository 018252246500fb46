"""What the one server of a store keeps in memory: it says what the store would say, and dies with the process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outpaint_engine.service.queue.jobs import Jobs
from outpaint_engine.service.queue.leases import Leases
from outpaint_engine.service.queue.memory import Memory

from .test_leases import Bench


@pytest.fixture
def bench(tmp_path: Path, body: dict[str, Any]) -> Iterator[Bench]:
    made = Bench(tmp_path, body, alone=True)
    yield made
    made.store.close()


@pytest.mark.parametrize("end", ["publish", "fail", "cancel", "unawaited"])
def test_a_job_is_known_until_it_ends(bench: Bench, end: str) -> None:
    assert bench.memory is not None
    job = bench.submit(awaited=end == "unawaited")
    claim = bench.claim()
    assert bench.state(job) is bench.memory.find(job.id) is claim.job
    match end:
        case "publish":
            bench.leases.publish(claim, b"jpeg", b"{}", 1.0)
        case "fail":
            bench.leases.fail(claim, "internal", "broken")
        case "cancel":
            bench.jobs.cancel("ann", job.id, "cancelled", "cancelled")
        case "unawaited":
            bench.now += bench.configuration.awaited_seconds + 1
            bench.leases.beat(claim, 1, 50)
    assert bench.memory.find(job.id) is None and bench.state(job).ended


def test_a_step_is_seen_at_once_and_the_lease_is_written_four_times_while_it_lasts(bench: Bench) -> None:
    job = bench.submit()
    claim, renewed = bench.claim(), []
    for step in range(1, 9):
        bench.now += bench.configuration.lease_seconds / 8
        kept, _ = bench.leases.beat(claim, step, 50)
        assert kept is not None and bench.state(job).step == step
        renewed.append(kept.beaten > claim.beaten)
        claim = kept
    assert renewed == [False, True] * 4


def test_a_process_that_starts_again_goes_on_at_once_and_ends_what_was_waited_for(bench: Bench) -> None:
    running, waited_for, queued = bench.submit(), bench.submit(awaited=True), bench.submit()
    died_on = bench.claim()
    assert died_on.job.id == running.id
    memory = Memory(bench.store)
    jobs = Jobs(bench.store, bench.results, bench.configuration, memory)
    leases = Leases(bench.store, bench.results, bench.configuration, memory)
    assert memory.any_waits()
    claims = [leases.claim(), leases.claim()]
    assert {claim.job.id for claim in claims if claim} == {running.id, queued.id}
    found = jobs.find("ann", waited_for.id)
    assert found is not None and found.reason == "cancelled"
    assert not bench.leases.publish(died_on, b"jpeg", b"{}", 1.0)
    assert bench.books == (2, 2)
