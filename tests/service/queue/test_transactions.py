"""How often a request writes and reads: a write is on disk before it is answered, and a store is slow by them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from outpaint_engine.service.queue.store import READ_ONLY

from ..running import Gate, Running, until

Serve = Callable[..., Running]


class Counted:
    """The transactions that began in a block: how many wrote, and what the others read in threads that answer."""

    def __init__(self) -> None:
        self.writes, self.reads = 0, 0


@contextmanager
def counting(running: Running) -> Iterator[Counted]:
    counted = Counted()

    def began(connection: Connection) -> None:
        if not connection.get_execution_options().get(READ_ONLY):
            counted.writes += 1
        elif "AnyIO" in threading.current_thread().name:
            counted.reads += 1

    event.listen(running.store.engine, "begin", began)
    try:
        yield counted
    finally:
        event.remove(running.store.engine, "begin", began)


@pytest.mark.parametrize("new_store", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("version", [1, 2])
def test_a_request_is_three_transactions_however_many_steps_it_takes(
    serve: Serve, new_store: Callable[[], str], body: dict[str, Any], version: int
) -> None:
    running = serve(workers=1, database=new_store())
    with counting(running) as counted:
        answer = running.post(body | {"num_inference_steps": 50}, version)
        assert answer.status_code == 200
        if version == 2:
            running.ended(answer.json()["request_id"])
    assert counted.writes == 3


@pytest.mark.parametrize("new_store", ["sqlite", "postgresql"], indirect=True)
def test_a_poll_reads_the_key_and_nothing_else(
    serve: Serve, new_store: Callable[[], str], body: dict[str, Any]
) -> None:
    gate = Gate()
    running = serve(unet=gate, database=new_store())
    gate.close()
    identity = running.submit(body)
    status = f"/v2/requests/{identity}/status?preview=true"
    until(lambda: running.client.get(status).json()["status"] == "PROCESSING")
    with counting(running) as counted:
        for _ in range(20):
            running.client.get(status)
    gate.open()
    assert (counted.writes, counted.reads) == (0, 20)
