"""What holds at every door, whoever's API it speaks: rates, queues, credits, repeats, and what a picture may cost."""

import base64
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ..running import Gate, Running, encoded, until

Serve = Callable[..., Running]
Post = Callable[..., Any]
PRICE = 10_900
SOURCE = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)


def to_openai(running: Running, image: bytes, **headers: str) -> Any:
    files, fields = {"image": image}, {"prompt": "a quiet sea", "size": "64x64"}
    return running.client.post("/v1/images/edits", files=files, data=fields, headers=headers)


def to_automatic1111(running: Running, image: bytes, **headers: str) -> Any:
    text = base64.b64encode(image).decode()
    body = {"init_images": [text], "resize_mode": 2, "steps": 3, "width": 64, "height": 64}
    return running.client.post("/sdapi/v1/img2img", json=body, headers=headers)


def to_stability(running: Running, image: bytes, **headers: str) -> Any:
    files, path = {"image": image}, "/v2beta/stable-image/edit/outpaint"
    return running.client.post(path, files=files, data={"left": "32"}, headers=headers)


@pytest.fixture(params=[to_openai, to_automatic1111, to_stability])
def post(request: pytest.FixtureRequest) -> Post:
    chosen: Post = request.param
    return chosen


@pytest.fixture
def image() -> bytes:
    return base64.b64decode(encoded(SOURCE))


def test_the_rate_of_an_account_holds(serve: Serve, post: Post, image: bytes) -> None:
    running = serve(requests_per_minute=1)
    answers = [post(running, image) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) > 0 and running.balance == 1_000_000 - PRICE


def test_a_full_queue_is_503(serve: Serve, post: Post, image: bytes, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1, max_queued=1)
    gate.close()
    first = running.submit(body)
    until(lambda: running.client.get(f"/v2/requests/{first}/status").json()["status"] == "PROCESSING")
    running.submit(body)
    answer = post(running, image)
    gate.open()
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def test_a_repeated_request_is_charged_once(serve: Serve, post: Post, image: bytes) -> None:
    running = serve()
    ids = {post(running, image, **{"Idempotency-Key": "once"}).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 1 and running.balance == 1_000_000 - PRICE


def test_a_body_over_the_limit_is_413(serve: Serve, post: Post) -> None:
    assert post(serve(max_body_bytes=100_000, max_image_bytes=60_000), bytes(100_001)).status_code == 413


def test_a_picture_that_is_too_costly_to_decode_is_refused_and_its_process_ends(serve: Serve, post: Post) -> None:
    """A PNG of few bytes and many pixels, for which the decoder has no memory."""
    running = serve(decode_bytes=2**20)
    answer = post(running, zeros(3000))
    assert answer.status_code in (400, 422) and "too much time or memory" in answer.text
    assert running.balance == 1_000_000


def zeros(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    head = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + bytes(3 * side)) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
