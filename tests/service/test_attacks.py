"""What a stranger may try, and that everybody else is answered meanwhile: one test for each way in."""

import base64
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outpaint_engine.errors import ImageError
from outpaint_engine.images import open_picture
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.pictures.decoding import Decoders, DecodingEnded
from outpaint_engine.service.refusals import Refusal
from outpaint_engine.service.routes import bodies
from outpaint_engine.service.routes.schema import Contract

from ..conftest import toy_unet
from .routes.test_contract import bomb
from .running import Gate, Running, encoded, until

Serve = Callable[..., Running]
MIB = 2**20


def jpeg(side: int, scans: int = 0) -> bytes:
    """A progressive JPEG of noise whose last scan is repeated."""
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[start:end] * scans + content[end:]


def connected(running: Running) -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def slow_body(running: Running, key: str, sends: bytes = b"{") -> socket.socket:
    """A request of which only the first bytes of the body come."""
    connection = connected(running)
    lines = ("POST /v2/sd1.5-outpaint HTTP/1.1", "Host: x", f"x-api-key: {key}", "content-type: application/json")
    connection.sendall("\r\n".join((*lines, "content-length: 90000")).encode() + b"\r\n\r\n" + sends)
    return connection


def first_line(connection: socket.socket) -> bytes:
    return connection.recv(4096).partition(b"\r\n")[0]


# Pictures


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded(body: dict[str, Any]) -> None:
    content = jpeg(16, scans=300)
    sent = json.dumps(body | {"image": base64.b64encode(content).decode()}).encode()
    with pytest.raises(Refusal, match="scans; at most 100"):
        Contract(Configuration()).read(sent)


def test_a_thumbnail_or_what_follows_the_picture_is_no_scan_of_it(body: dict[str, Any]) -> None:
    plain, many = jpeg(16), jpeg(16, scans=200)
    length = min(len(many), 60_000)
    thumbnail = b"\xff\xe1" + (length + 2).to_bytes(2) + many[:length]
    for content in (plain[:2] + thumbnail + plain[2:], plain + b"\xff\xda" * 1000):
        sent = json.dumps(body | {"image": base64.b64encode(content).decode()}).encode()
        assert Contract(Configuration()).read(sent).order.picture == content


@pytest.mark.parametrize(("seconds", "memory"), [(0.2, 600 * MIB), (10, 8 * MIB)])
def test_decoding_that_takes_too_much_time_or_memory_is_ended(seconds: float, memory: int) -> None:
    with closing(Decoders(1, seconds, memory)) as decoders:
        with pytest.raises(DecodingEnded):
            decoders.decode(jpeg(1500, scans=90))
        assert open_picture(decoders.decode(jpeg(8))).size == (8, 8)


def test_a_picture_decoded_elsewhere_is_the_same_picture(picture: np.ndarray) -> None:
    pixels = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    pixels[5:20, 7:30, 3] = 0
    content = base64.b64decode(encoded(pixels))
    with closing(Decoders(1, 5, 600 * MIB)) as decoders:
        here, there = open_picture(content), open_picture(decoders.decode(content))
        with pytest.raises(ImageError, match="damaged"):
            decoders.decode(content[:200])
    assert np.array_equal(here.pixels, there.pixels)
    assert here.opaque is not None and there.opaque is not None and np.array_equal(here.opaque, there.opaque)


@pytest.mark.parametrize("size", [(1, 16_777_216), (16_777_216, 1), (20_000, 8)])
def test_a_side_beyond_all_use_is_refused_by_the_header(body: dict[str, Any], size: tuple[int, int]) -> None:
    sent = json.dumps(body | {"image": bomb(*size)}).encode()
    with pytest.raises(Refusal, match="no side may have more than 16,384"):
        Contract(Configuration()).read(sent)


def test_the_worker_never_meets_the_file_that_was_sent(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1)
    gate.close()
    running.submit(body | {"image": base64.b64encode(jpeg(32)).decode()})
    kept = next((running.results / "pictures").iterdir()).read_bytes()
    gate.open()
    assert kept.startswith(b"\x89PNG")


# Bodies


def test_an_account_without_credits_is_refused_before_its_body_is_read(serve: Serve) -> None:
    running = serve(credits=0)
    with slow_body(running, running.key) as connection:
        assert b" 406 " in first_line(connection)


def test_slow_bodies_of_one_account_keep_no_other_waiting(
    serve: Serve, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 20.0)
    slow = serve(account_bodies=3, concurrent_bodies=5)
    other = slow.entered(10**6)
    with ExitStack() as stack, other.client:
        open_bodies = [stack.enter_context(slow_body(slow, slow.key)) for _ in range(3)]
        # A request that is taken costs credits, so that one must not be sent while the slow ones are on their way.
        time.sleep(1)
        until(lambda: slow.post(body, 2).status_code == 503)
        assert slow.post(body, 2).headers["retry-after"] == "5"
        assert other.post(body).status_code == 200
    assert len(open_bodies) == 3


def test_a_body_below_the_least_rate_is_408(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.2)
    running = serve(body_rate=10_000)
    with slow_body(running, running.key, b" " * 3000) as connection:
        assert b" 408 " in first_line(connection)


# Connections


def test_half_sent_heads_are_hung_up_on_and_not_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    running = serve(header_seconds=0.3)
    with ExitStack() as stack:
        half = [stack.enter_context(connected(running)) for _ in range(50)]
        for number, connection in enumerate(half):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost:" if number % 2 else b"\x16\x03\x01nonsense\r\n\r\n")
        began = time.monotonic()
        for connection in half:
            while True:
                try:
                    if not connection.recv(4096):
                        break
                except ConnectionResetError:
                    break
        assert time.monotonic() - began < 8
    # A head that comes drop by drop on a connection that was answered once gets no more time.
    with connected(running) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in first_line(connection)
        connection.sendall(b"GET /livez")
        with pytest.raises(ConnectionError):
            for _ in range(50):
                connection.sendall(b"x")
                time.sleep(0.05)
    assert not [record for record in caplog.records if "nvalid" in record.getMessage()]


def test_the_connection_that_was_silent_longest_makes_room(serve: Serve) -> None:
    running = serve(max_connections=20, header_seconds=30)
    with ExitStack() as stack:
        half = [stack.enter_context(connected(running)) for _ in range(60)]
        with running.entered(0).client as client:
            assert client.get("/livez").status_code == 200
        with suppress(ConnectionResetError):
            assert half[0].recv(1) == b""


# The queue


def test_a_short_job_does_not_wait_for_another_accounts_long_ones(serve: Serve, body: dict[str, Any]) -> None:
    def slow(**feeds: Any) -> Any:
        time.sleep(0.02)
        return toy_unet(**feeds)

    greedy = serve(unet=slow, workers=1)
    other = greedy.entered(10**6)
    jobs = [greedy.submit(body | {"num_inference_steps": 60}) for _ in range(4)]
    until(lambda: "PROCESSING" in greedy.states())
    with other.client:
        assert other.post(body).status_code == 200
    states = [greedy.client.get(f"/v2/requests/{job}/status").json()["status"] for job in jobs]
    assert states == ["PROCESSING", "QUEUED", "QUEUED", "QUEUED"]
    assert greedy.ended(jobs[0])["metrics"]["retry_count"] == 0
    for job in jobs[1:]:
        greedy.client.delete(f"/v2/requests/{job}")


def test_one_account_may_have_so_many_jobs_waiting(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1, account_queued=2)
    other = running.entered(10**6)
    gate.close()
    accepted = [running.submit(body)]
    until(lambda: running.states() == ["PROCESSING"])
    accepted += [running.submit(body) for _ in range(2)]
    refused = running.post(body, 2)
    with other.client:
        taken = other.post(body, 2)
    gate.open()
    assert (refused.status_code, taken.status_code) == (429, 200)
    assert int(refused.headers["retry-after"]) >= 1


# The engine


def test_an_engine_that_hangs_costs_its_job_only_and_is_said_by_readyz(serve: Serve, body: dict[str, Any]) -> None:
    hung = threading.Event()
    armed = False

    def unet(**feeds: Any) -> Any:
        nonlocal armed
        if armed:
            armed = False
            assert hung.wait(60)
        return toy_unet(**feeds)

    running = serve(unet=unet, workers=1, lease_seconds=1.0)
    armed = True
    answer = running.post(body)
    assert answer.status_code == 500 and "did not answer within 1 seconds" in answer.json()["error"]
    assert running.balance == 1_000_000
    assert running.post(body).status_code == 200
    until(lambda: running.client.get("/readyz").status_code == 200)
    assert 'outpaint_jobs_ended_total{outcome="hung"} 1.0' in running.client.get("/metrics").text
    hung.set()


def test_a_server_whose_steps_do_not_end_is_not_ready(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1, lease_seconds=0.5)
    gate.close()
    running.submit(body)
    until(lambda: running.client.get("/readyz").status_code == 503)
    gate.open()


# Words and figures


@pytest.mark.parametrize("path", ["/v2/requests/%00", "/v2/requests/a%00/status", "/v2/results/%00.jpg"])
def test_an_id_that_could_be_none_is_unknown(plain: Running, path: str) -> None:
    with plain.entered(0).client as client:
        assert client.get(path).status_code == 404


def test_a_length_beside_chunks_is_400_and_the_connection_is_closed(plain: Running) -> None:
    with connected(plain) as connection:
        connection.sendall(
            b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert b" 400 " in first_line(connection)


def test_a_target_in_absolute_form_is_the_path_in_it(plain: Running) -> None:
    with connected(plain) as connection:
        connection.sendall(b"GET http://example.org/livez HTTP/1.1\r\nHost: example.org\r\n\r\n")
        assert b" 200 " in first_line(connection)


def test_a_cancelled_run_is_counted_as_cancelled(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1)
    gate.close()
    identity = running.submit(body)
    until(lambda: running.states() == ["PROCESSING"])
    running.client.delete(f"/v2/requests/{identity}")
    gate.open()
    line = 'outpaint_jobs_ended_total{outcome="cancelled"} 1.0'
    until(lambda: line in running.client.get("/metrics").text)
