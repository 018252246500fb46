"""The store, the ledger, the accounts and the configuration, without any server."""

import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from outpaint_engine.errors import OutputError, RequestError
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue import ledger
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.rows import write_rows
from outpaint_engine.service.queue.store import Store, journal_mode
from outpaint_engine.service.queue.tables import Account, Entry, Key, Settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path}/store.db")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 0), "WAL"),
    ],
)
def test_wal_is_used_only_where_sqlite_keeps_its_commits(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version)[0] == mode


def test_only_its_owner_may_read_the_store(store: Store, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600


def test_the_link_secret_outlives_the_process(store: Store) -> None:
    with closing(Store(str(store.engine.url))) as again:
        assert again.link_secret == store.link_secret


def test_a_store_of_another_version_is_refused(store: Store) -> None:
    with store.transition("grant") as session:
        session.execute(update(Settings).values(schema=99))
    with pytest.raises(OutputError, match="tables of version 99"):
        Store(str(store.engine.url))


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:////no/such/folder/store.db", "postgresql+psycopg://127.0.0.1:1/x"]
)
def test_a_store_that_cannot_be_opened_says_so(url: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="psycopg is not installed: the extra `postgres`")
    with pytest.raises(OutputError, match="store"):
        Store(url)


@pytest.mark.parametrize("url", ["outpaint.db", ":memory:", "mysql://host/name", "sqlite"])
def test_a_store_that_is_no_url_of_the_two_is_told_how_they_look(url: str) -> None:
    with pytest.raises(OutputError, match="sqlite:///FILE or postgresql"):
        Store(url)


def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    people = Accounts(store)
    people.create_key("ann", 100)
    with pytest.raises(ZeroDivisionError), store.transition("grant") as session:
        ledger.grant(session, "ann", 50, 0.0)
        raise ZeroDivisionError
    assert people.balance("ann") == 100


def held(session: Session, *jobs: tuple[str, int]) -> None:
    balances = ledger.Balances({"ann": ledger.balance(session, "ann")})
    for job, price in jobs:
        balances.hold("ann", price, job)
    entries, left = balances.rows(0.0)
    write_rows(session, {Entry: entries}, {Account: left})


def test_a_hold_is_paid_at_once(store: Store) -> None:
    Accounts(store).create_key("ann", 100)
    with store.transition("submit") as session:
        held(session, ("job", 60))
        assert ledger.balance(session, "ann") == 40
        assert ledger.open_holds(session) == 1


def test_a_release_gives_back_and_a_capture_keeps(store: Store) -> None:
    Accounts(store).create_key("ann", 100)
    with store.transition("submit") as session:
        held(session, ("kept", 30), ("returned", 30))
        ledger.capture(session, "ann", "kept", 1.0)
        ledger.release(session, "ann", 30, "returned", 1.0)
        assert ledger.balance(session, "ann") == 70
        assert ledger.open_holds(session) == 0


@pytest.mark.parametrize("second", ["capture", "release", "hold"])
def test_a_job_is_settled_once(store: Store, second: str) -> None:
    Accounts(store).create_key("ann", 100)
    with store.transition("submit") as session:
        held(session, ("job", 30))
        ledger.capture(session, "ann", "job", 1.0)
    with pytest.raises(IntegrityError), store.transition("submit") as session:
        session.execute(insert(Entry).values(owner="ann", kind=second, amount=0, job="job", at=2.0))


def test_a_key_is_not_kept(store: Store) -> None:
    key = Accounts(store).create_key("ann")
    with store.reading() as session:
        row = session.execute(select(Key.id, Key.owner, Key.sha256)).one()
    assert key not in str(row) and key.split("_", 2)[2] not in str(row)


def test_a_key_finds_its_owner_until_it_is_disabled(store: Store) -> None:
    people = Accounts(store)
    key = people.create_key("ann")
    assert people.owner_of(key) == "ann"
    assert people.owner_of(key + "x") is None
    people.disable(people.list()[0].id)
    assert people.owner_of(key) is None
    assert not people.any_enabled()


def test_two_keys_share_one_account(store: Store) -> None:
    people = Accounts(store)
    people.create_key("ann", 5)
    people.create_key("ann", 6)
    assert {key.balance for key in people.list()} == {11}
    with store.reading() as session:
        assert len(session.scalars(select(Account)).all()) == 1


def test_an_unknown_account_or_key_is_named(store: Store) -> None:
    with pytest.raises(RequestError, match="'bob'"):
        Accounts(store).grant("bob", 1)
    with pytest.raises(RequestError, match="'00'"):
        Accounts(store).disable("00")


def test_the_configuration_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text("canvas_sides = [256, 512]\ncanvas_default = 256\nprice = 5\nlease_seconds = 9\nscale = [1, 2]\n")
    found = Configuration.read(path)
    assert (found.canvas_sides, found.price, found.lease_seconds, found.scale) == ((256, 512), 5, 9.0, (1.0, 2.0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prize = 5", "prize is an unknown key"),
        ("price = 'x'", "price must be a valid integer, not 'x'"),
        ("url_images = 1", "url_images must be a valid boolean, not 1"),
        ("canvas_default = 512", "canvas_default 512 is not one of"),
        ("canvas_sides = [100]\ncanvas_default = 100", "canvas_sides must be a multiple of 8, not 100"),
        ("steps_default = 1", "outside steps"),
        ("max_body_bytes = 5", "a third longer"),
        ("public_url = 'example.org'", "public_url must match pattern"),
        ("workers = 0", "workers must be greater than 0, not 0"),
        ("concurrent_bodies = 0", "concurrent_bodies must be greater than 0"),
        ("requests_per_minute = -1", "requests_per_minute must be greater than 0"),
        ("price = -1", "price must be greater than or equal to 0"),
        ("strength = [1, 0.5]", "strength must be two numbers"),
        ("=", "cannot be read"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=says):
        Configuration.read(path)
