"""A store is one server's, or shared by several that all say so; who loses its hold does nothing more."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from outpaint_engine.cli.service import _listen
from outpaint_engine.errors import OutputError
from outpaint_engine.service.app import create_app
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue import hold
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.memory import Memory
from outpaint_engine.service.queue.store import LOST, Store
from outpaint_engine.shared import SharedPipeline

from ...conftest import toy_pipeline
from ..running import until
from ..small import SMALL

both = pytest.mark.parametrize("new_store", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("new_store", ["postgresql"], indirect=True)
CUT = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def stores(new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Store]]:
    """Two processes' stores over the same database; nobody is waited for."""
    monkeypatch.setattr(hold, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(hold, "WATCH_SECONDS", 0.05)
    url = new_store()
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Store(url))) for _ in range(2)]


@both
@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_beside_one_that_has_a_store_alone_there_is_no_other(stores: list[Store], first: bool, second: bool) -> None:
    assert stores[0].hold(shared=first) is not first
    with pytest.raises(OutputError, match=r"served by .*process \d+ on .*shared_store = true"):
        stores[1].hold(shared=second)
    stores[0].close()
    assert stores[1].hold(shared=second) is not second


@both
def test_several_share_a_store_where_all_say_so(stores: list[Store]) -> None:
    assert [store.hold(shared=True) for store in stores] == [False, False]


@on_postgresql
def test_who_loses_the_hold_believes_and_writes_nothing_more(stores: list[Store]) -> None:
    lost, other = stores
    lost.hold()
    memory = Memory(lost)
    cut(other)
    until(lambda: lost.lost)
    assert other.hold()
    for use in (
        lambda: memory.find("0" * 32),
        lost.probe,
        lost.reading().__enter__,
        lost.transition("claim").__enter__,
    ):
        with pytest.raises(OutputError, match="this server ends"):
            use()


@on_postgresql
def test_one_that_shares_a_store_takes_its_hold_again(stores: list[Store]) -> None:
    shared, other = stores
    shared.hold(shared=True)
    (first,) = holders(other)
    cut(other)
    until(lambda: holders(other) not in ([], [first]))
    assert not shared.lost


@on_postgresql
def test_one_that_shared_a_store_ends_where_another_has_it_alone_meanwhile(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, other = stores
    monkeypatch.setattr(hold, "WATCH_SECONDS", 0.5)
    shared.hold(shared=True)
    cut(other)
    until(lambda: not holders(other))
    assert other.hold()
    until(lambda: shared.lost)


@on_postgresql
def test_a_server_that_loses_its_hold_ends_with_a_sentence(
    stores: list[Store], tmp_path: Path, body: dict[str, Any]
) -> None:
    store, other = stores
    configuration = Configuration(**SMALL)
    app = create_app(configuration, store, Files(tmp_path), SharedPipeline(toy_pipeline(), configuration.workers))
    ended: list[Exception] = []

    def serve() -> None:
        try:
            _listen(app, listening, "here")
        except OutputError as error:
            ended.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        until(lambda: app.state.service.workers.warm)
        cut(other)
        thread.join(20)
    assert str(ended[0]) == LOST


def cut(store: Store) -> None:
    """End the connections that hold the database, as its restart would."""
    with store.engine.begin() as connection:
        connection.execute(text(CUT))


def holders(store: Store) -> list[int]:
    """The database's processes whose connections hold it."""
    with store.reading() as session:
        return list(session.scalars(text("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")))
