"""The picture in the answer to the POST."""

import base64
import io
import json
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update

from outpaint_engine.service.queue.tables import Job

from ..running import Gate, Running, encoded, until

PRICE = 10_900
Serve = Callable[..., Running]


def test_a_picture_comes_back_with_its_headers(serve: Serve, body: dict[str, Any]) -> None:
    answer = serve().post(body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    assert answer.headers["x-remaining-credits"] == "0.9891"
    assert answer.headers["x-cost"] == "0.0109"
    assert answer.headers["x-seed-value"] == "7"
    assert float(answer.headers["x-generation-time"]) > 0
    assert len(answer.headers["x-request-id"]) == 32


def test_the_known_picture_is_in_the_answer(serve: Serve, body: dict[str, Any]) -> None:
    flat = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    answer = serve().post(body | {"image": encoded(flat), "mask_expand": 0})
    pixels = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert np.abs(pixels[24:40, 24:40] - (200, 40, 90)).max() < 12


def test_the_same_seed_gives_the_same_picture(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    assert running.post(body).content == running.post(body).content


def test_the_picture_says_that_a_model_painted_it_and_on_which_request(serve: Serve, body: dict[str, Any]) -> None:
    image: Any = Image.open(io.BytesIO(serve().post(body).content))
    assert b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]
    comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment[8:].decode("utf-16-be").startswith("a quiet sea\nSteps: ")


def test_a_service_can_be_told_to_write_nothing_but_the_picture(serve: Serve, body: dict[str, Any]) -> None:
    told, bare = (Image.open(io.BytesIO(serve(metadata=said).post(body).content)) for said in (True, False))
    assert not {"xmp", "exif"} & set(bare.info)
    assert told.tobytes() == bare.tobytes()


def test_base64_is_answered_as_json(serve: Serve, body: dict[str, Any]) -> None:
    said = serve().post(body | {"base64": True}).json()
    assert base64.b64decode(said["image"]).startswith(b"\xff\xd8\xff")


def test_a_seed_of_minus_one_is_drawn_and_told(serve: Serve, body: dict[str, Any]) -> None:
    assert int(serve().post(body | {"seed": -1}).headers["x-seed-value"]) >= 0


def test_credits_can_be_asked_for(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    running.post(body)
    assert running.client.get("/v1/get-user-credits").json() == {"credits": 0.9891}


def test_too_few_credits_are_refused_and_nothing_is_kept(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(credits=PRICE - 1, workers=1)
    answer = running.post(body)
    assert (answer.status_code, answer.json()) == (406, {"error": "Insufficient credits."})
    assert running.balance == PRICE - 1
    assert not list((running.results / "pictures").iterdir())


@pytest.mark.parametrize(
    "given",
    [None, "", "wrong", "oe_00000000_wrong", "SG_0123456789abcdef", "disabled"],
)
def test_every_bad_key_gets_the_same_answer(serve: Serve, body: dict[str, Any], given: str | None) -> None:
    running = serve()
    if given == "disabled":
        given = running.accounts.create_key("tester")
        running.accounts.disable(given.split("_")[1])
    del running.client.headers["x-api-key"]
    headers = {} if given is None else {"x-api-key": given}
    answer = running.post(body, **headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "Unauthorized: send a valid API key in the header x-api-key."}


def test_an_engine_that_breaks_is_an_id_and_the_hold_is_given_back(
    serve: Serve, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    breaks = False

    def unet(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        if breaks:
            raise RuntimeError("secret prompt text")
        return {"out_sample": feeds["sample"][:, :4]}

    running = serve(unet=unet)
    breaks = True
    answer = running.post(body)
    assert answer.status_code == 500
    sentence = answer.json()["error"]
    assert sentence.startswith("Internal error ") and "secret" not in sentence
    assert sentence.split()[-1].rstrip(".") in caplog.text
    assert "secret" not in caplog.text
    assert running.balance == 1_000_000
    assert running.client.get("/readyz").json()["last_run_fine"] is False


def hang_up_after_post(running: Running, body: dict[str, Any], **headers: str) -> None:
    content = json.dumps(body).encode()
    lines = [
        "POST /v1/sd1.5-outpaint HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"x-api-key: {running.key}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        until(lambda: running.states() == ["PROCESSING"])


def test_a_client_that_hangs_up_ends_its_run_within_one_step_and_gets_its_hold_back(
    serve: Serve, body: dict[str, Any]
) -> None:
    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    before = gate.calls
    hang_up_after_post(running, body | {"num_inference_steps": 50})
    until(lambda: running.states() == ["FAILED"])
    assert running.balance == 1_000_000
    gate.open()
    assert running.post(body).status_code == 200
    # One call was under way; the three of the second request follow.
    assert gate.calls - before <= 1 + 3


def test_a_run_that_takes_too_long_is_given_up_with_503(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, inline_seconds=0.3)
    gate.close()
    answer = running.post(body)
    gate.open()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert running.balance == 1_000_000


def test_a_job_whose_record_is_damaged_fails_and_the_queue_goes_on(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, workers=1)
    gate.close()
    first = running.submit(body)
    until(lambda: running.states() == ["PROCESSING"])
    damaged = running.submit(body)
    with running.store.transition("submit") as session:
        session.execute(update(Job).where(Job.id == damaged).values(fields='{"prompt": '))
    gate.open()
    assert running.ended(first)["status"] == "COMPLETED"
    assert "Internal error" in running.ended(damaged)["error"]
    assert running.post(body).status_code == 200
