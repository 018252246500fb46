"""Every status code of the contract, from a real server; and what no answer and no log line may hold."""

import base64
import concurrent.futures
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ..running import Gate, Running, until

Serve = Callable[..., Running]
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/get-user-credits", 200),
        ("POST", "/v1/sdxl", 404),
        ("POST", "/v2/sdxl", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v2/requests/0123", 404),
        ("GET", "/v2/requests/0123/status", 404),
        ("GET", "/v2/results/0123.jpg", 404),
        ("GET", "/v2/results/..%2f..%2fetc%2fpasswd", 404),
        ("DELETE", "/v2/requests/0123", 404),
        ("GET", "/v1/sd1.5-outpaint", 405),
        ("PUT", "/v2/sd1.5-outpaint", 405),
        ("POST", "/v1/sd1.5-outpaint", 406),
        ("POST", "/v2/sd1.5-outpaint", 406),
    ],
)
def test_paths_and_methods(shared: Running, method: str, path: str, status: int) -> None:
    answer = shared.client.request(method, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status >= 400:
        assert list(answer.json()) == ["error"]


def test_the_document_describes_every_json_body_and_promises_nothing_of_fastapis_own(plain: Running) -> None:
    document = plain.client.get("/openapi.json").json()
    answers = [
        answer["content"]["application/json"]["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        if "application/json" in answer.get("content", {}) and "image/jpeg" not in answer["content"]
    ]
    assert len(answers) > 50 and all(answers)
    assert "HTTPValidationError" not in str(document)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from ..running import servers

    with servers(tmp_path_factory.mktemp("shared")) as start:
        running = start(max_body_bytes=100_000, max_image_bytes=60_000, body_seconds=0.5).entered(10**6)
        with running.client:
            yield running


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", ""])
def test_another_content_type_is_406(shared: Running, body: dict[str, Any], kind: str) -> None:
    answer = shared.client.post("/v1/sd1.5-outpaint", content=json.dumps(body), headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (406, "Invalid content type: send application/json.")


def raw(running: Running, *lines: str, then: bytes = b"") -> bytes:
    """The first line that comes back for a request written by hand."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        start = ("POST /v1/sd1.5-outpaint HTTP/1.1", "Host: x", f"x-api-key: {running.key}", *lines)
        connection.sendall("\r\n".join(start).encode() + b"\r\n\r\n" + then)
        return connection.recv(4096).partition(b"\r\n")[0]


def test_a_body_that_says_it_is_too_large_is_413_before_it_is_sent(shared: Running) -> None:
    assert b" 413 " in raw(shared, "content-type: application/json", "content-length: 100001")


def test_a_body_that_grows_too_large_is_413_while_it_is_read(shared: Running) -> None:
    chunks = b"".join(b"4e20\r\n" + b" " * 20_000 + b"\r\n" for _ in range(6))
    assert b" 413 " in raw(shared, "content-type: application/json", "transfer-encoding: chunked", then=chunks)


def test_a_picture_that_is_too_large_is_413(shared: Running, body: dict[str, Any]) -> None:
    answer = shared.post(body | {"image": base64.b64encode(bytes(60_001)).decode()})
    assert (answer.status_code, answer.json()["error"]) == (413, "image is larger than 60,000 bytes.")


def test_a_body_that_does_not_come_is_408(shared: Running) -> None:
    assert b" 408 " in raw(shared, "content-type: application/json", "content-length: 50")


def test_a_picture_at_a_private_address_is_refused_with_the_reason(shared: Running, body: dict[str, Any]) -> None:
    answer = shared.post(body | {"image": "http://127.0.0.1/a.png"})
    assert answer.status_code == 406
    assert answer.json()["error"].startswith("image's URL leads to")


def test_a_full_queue_is_503_and_reads_go_on(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1, max_queued=2)
    gate.close()
    accepted = [running.submit(body)]
    until(lambda: running.client.get(f"/v2/requests/{accepted[0]}/status").json()["status"] == "PROCESSING")
    accepted += [running.submit(body) for _ in range(2)]
    answers = [running.post(body, version) for version in (1, 2)]
    reads = [running.client.get(f"/v2/requests/{identity}/status").status_code for identity in accepted]
    gate.open()
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "5")] * 2
    assert reads == [200, 200, 200]


def test_too_many_requests_are_429_and_reads_go_on(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(requests_per_minute=1)
    identity = running.submit(body)
    answer = running.post(body, 2)
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 61
    assert all(running.client.get(f"/v2/requests/{identity}").status_code == 200 for _ in range(20))


def test_bodies_refused_too_often_are_429_before_the_next_is_read(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(requests_per_minute=2)
    answers = [running.post(sent, 2) for sent in (body | {"scale": 99}, body | {"image": "x"}, body)]
    assert [answer.status_code for answer in answers] == [406, 406, 429]
    assert 0 < int(answers[2].headers["retry-after"]) <= 61


def test_a_repeated_v1_request_gets_the_same_picture_and_one_charge(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    key = {"Idempotency-Key": "a-1"}
    first, again = running.post(body, **key), running.post(body, **key)
    assert first.content == again.content
    assert first.headers["x-request-id"] == again.headers["x-request-id"]
    assert again.headers["x-remaining-credits"] == "0.9891"
    assert running.balance == 989_100


def test_a_repeated_v2_request_gets_the_same_answer_with_the_state_of_now(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    first = running.post(body, 2, **{"Idempotency-Key": "a-1"})
    running.ended(first.json()["request_id"])
    again = running.post(body, 2, **{"Idempotency-Key": "a-1"})
    assert again.json() == first.json() | {"status": "COMPLETED"}


def test_a_key_whose_request_still_runs_is_409_and_another_request_422(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    key = {"Idempotency-Key": "a-1"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.post, body, **key)
        until(lambda: "PROCESSING" in running.states())
        codes = [running.post(body, **key).status_code, running.post(body | {"seed": 8}, **key).status_code]
        gate.open()
        assert first.result().status_code == 200
    assert codes == [409, 422]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_has_1_to_255_characters(shared: Running, body: dict[str, Any], key: str) -> None:
    assert shared.post(body, **{"Idempotency-Key": key}).status_code == 406


def test_nothing_private_is_logged(serve: Serve, body: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    running = serve()
    said = running.ended(running.submit(body | {"prompt": "CANARY one"}))
    running.client.get(said["output"])
    running.post(body | {"prompt": "CANARY two", "scheduler": "CANARY"})
    own = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("outpaint_engine"))
    assert "/v2/results/{name} 200" in own
    assert "CANARY" not in caplog.text
    for secret in (running.key, body["image"][:40], said["output"].partition("signature=")[2]):
        assert secret not in own


def test_metrics_count_answers_jobs_and_refusals(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(workers=1)
    running.ended(running.submit(body))
    running.post(body | {"scale": 99})
    text = running.client.get("/metrics").text
    for line in (
        'outpaint_jobs{state="COMPLETED"} 1.0',
        'outpaint_jobs_ended_total{outcome="completed"} 1.0',
        'outpaint_refused_total{reason="input"} 1.0',
        'outpaint_http_answers_total{route="/v1/sd1.5-outpaint",status="406"} 1.0',
        "outpaint_steps_total 3.0",
    ):
        assert line in text


def test_a_store_that_cannot_be_written_is_503_and_not_ready(
    serve: Serve, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from outpaint_engine.service.queue import places

    running = serve()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.os, "fsync", full)
    answer = running.post(body, 2)
    ready = running.client.get("/readyz")
    assert answer.status_code == 503 and "retry-after" in answer.headers
    assert ready.status_code == 503 and ready.json()["results_writable"] is False
    assert running.balance == 1_000_000
