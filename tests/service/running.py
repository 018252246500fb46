"""A real server on a socket, with the toy pipeline: what the tests of this folder talk to."""

import base64
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from outpaint_engine.safety import SafetyChecker
from outpaint_engine.service.app import create_app
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.ledger import MICROS
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Job
from outpaint_engine.service.server import server_of
from outpaint_engine.shared import SharedPipeline

from ..conftest import toy_pipeline, toy_unet
from .small import SMALL


def encoded(pixels: np.ndarray, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def body(picture: np.ndarray) -> dict[str, Any]:
    """A request that is served."""
    return {"image": encoded(picture), "prompt": "a quiet sea", "scale": 0.5, "offset_x": 16, "offset_y": 16, "seed": 7}


class Gate:
    """A UNet that stops at `close()`, or after so many more calls, and goes on at `open()`; `calls` counts."""

    def __init__(self) -> None:
        self._free, self.calls, self._last = threading.Event(), 0, -1
        self._free.set()

    def __call__(self, **feeds: np.ndarray) -> dict[str, np.ndarray]:
        if self.calls == self._last:
            self.close()
        self.calls += 1
        assert self._free.wait(20)
        return toy_unet(**feeds)

    def open(self, calls: int = -1) -> None:
        """Let it run on; for so many calls, or until it is closed."""
        self._last = self.calls + calls if calls > 0 else -1
        self._free.set()

    def close(self) -> None:
        self._free.clear()


@dataclass
class Running:
    """A server that answers, an account with credits and a client that has its key."""

    url: str
    accounts: Accounts
    store: Store
    results: Path
    client: httpx2.Client
    owner: str = ""
    key: str = ""

    def entered(self, credits: int) -> "Running":
        """The same server, seen by a new account."""
        owner = f"tester-{time.monotonic_ns()}"
        key = self.accounts.create_key(owner, credits)
        client = httpx2.Client(base_url=self.url, timeout=20, headers={"x-api-key": key})
        return replace(self, client=client, owner=owner, key=key)

    def post(self, body: dict[str, Any], version: int = 1, **headers: str) -> httpx2.Response:
        return self.client.post(f"/v{version}/sd1.5-outpaint", json=body, headers=headers)

    def submit(self, body: dict[str, Any], **headers: str) -> str:
        answer = self.post(body, 2, **headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    def ended(self, identity: str) -> dict[str, Any]:
        return until(lambda: self._ended(identity))

    def _ended(self, identity: str) -> dict[str, Any] | None:
        said: dict[str, Any] = self.client.get(f"/v2/requests/{identity}").json()
        return said if said["status"] in ("COMPLETED", "FAILED") else None

    def states(self) -> list[str]:
        with self.store.reading() as session:
            return list(session.scalars(select(Job.state)))

    @property
    def balance(self) -> int:
        return self.accounts.balance(self.owner)


def until(look: Callable[[], Any], seconds: float = 10) -> Any:
    """What `look` finds, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return found


@contextmanager
def servers(folder: Path) -> Iterator[Callable[..., Running]]:
    """`start(unet=..., credits=1, **configuration)` starts a server that ends with the block."""
    stops: list[Callable[[], None]] = []

    def start(
        unet: Callable[..., Any] = toy_unet,
        checker: SafetyChecker | None = None,
        database: str = "",
        kept: str = "",
        **changes: Any,
    ) -> Running:
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        configuration = Configuration(**SMALL | {"public_url": url} | changes)
        store, results = (
            Store(database or f"sqlite:///{folder}/store{len(stops)}.db"),
            Files(kept or folder / "results"),
        )
        accounts = Accounts(store)
        model = SharedPipeline(toy_pipeline(unet=unet, safety_checker=checker), configuration.workers)
        app = create_app(configuration, store, results, model)
        server = server_of(app, configuration)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        client = httpx2.Client(base_url=url, timeout=20)

        def stop() -> None:
            client.close()
            server.should_exit = True
            thread.join()
            store.close()
            listening.close()

        stops.append(stop)
        until(lambda: server.started and client.get("/readyz").status_code == 200)
        return Running(url, accounts, store, folder / "results", client)

    try:
        yield start
    finally:
        for stop in reversed(stops):
            stop()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server with the small limits for every test that changes nothing."""
    with servers(tmp_path_factory.mktemp("plain")) as start:
        yield start()


@pytest.fixture
def serve(tmp_path: Path, plain: Running) -> Iterator[Callable[..., Running]]:
    """`serve(credits=...)` is a new account on the plain server; with anything else, a new server."""
    entered = []
    with servers(tmp_path) as start:

        def chosen(credits: int = MICROS, **changes: Any) -> Running:
            entered.append((start(**changes) if changes else plain).entered(credits))
            return entered[-1]

        yield chosen
        for running in entered:
            running.client.close()
