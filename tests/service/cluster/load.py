"""Clients that go on submitting whatever happens to the server, each request under a key of its own."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import httpx2

from .clusters import Running

PAUSE = 0.2


class Load:
    """Submits from several threads in its block; `accepted` are the requests that the server took."""

    def __init__(self, running: Running, body: dict[str, Any], clients: int = 4, pause: float = PAUSE) -> None:
        self._running, self._body, self._clients, self._pause = running, body, clients, pause
        self._ending, self._pool = threading.Event(), ThreadPoolExecutor(clients)
        self._submitting: list[Future[None]] = []
        self.accepted: list[str] = []
        self.unanswered = 0
        """How often a client had to ask again."""

    def __enter__(self) -> Self:
        self._submitting = [self._pool.submit(self._submit, number) for number in range(self._clients)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._pool.shutdown()
        for each in self._submitting:
            each.result()

    def _submit(self, client: int) -> None:
        number = 0
        with self._running.client(5) as http:
            while not self._ending.is_set():
                number += 1
                self.accepted.append(self._accepted(http, f"{client}-{number}"))
                time.sleep(self._pause)

    def _accepted(self, http: httpx2.Client, key: str) -> str:
        deadline = time.monotonic() + 120
        while True:
            try:
                answer = http.post("/v2/sd1.5-outpaint", json=self._body, headers={"idempotency-key": key})
                if answer.status_code == 200:
                    return str(answer.json()["request_id"])
                assert answer.status_code == 503, answer.text
            except httpx2.HTTPError:
                pass
            assert time.monotonic() < deadline, "nobody answers"
            self.unanswered += 1
            time.sleep(PAUSE)
