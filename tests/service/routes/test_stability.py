"""Stability's door, called as their own examples call it: a form with files and an Accept header."""

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from ..running import Gate, Running, encoded, until

Serve = Callable[..., Running]
PRICE = 10_900
PATH = "/v2beta/stable-image/edit/outpaint"


def picture(width: int = 40, height: int = 36) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def posted(running: Running, pixels: np.ndarray | None = None, accept: str = "image/*", **fields: Any) -> Any:
    headers = {"authorization": f"Bearer {running.key}", "accept": accept, "x-api-key": ""}
    files = {"image": base64.b64decode(encoded(picture() if pixels is None else pixels))}
    return running.client.post(PATH, headers=headers, files=files, data=fields)


@pytest.mark.parametrize(
    ("sides", "size", "corner"),
    [
        ({"left": 24, "right": 24}, (88, 36), (24, 0)),
        ({"left": 21}, (61, 36), (21, 0)),
        ({"right": 9, "down": 5}, (49, 41), (0, 0)),
        ({"left": 8, "up": 7}, (48, 43), (8, 7)),
    ],
)
def test_the_picture_keeps_its_pixels_and_grows_by_what_was_asked_for(
    serve: Serve, sides: dict[str, int], size: tuple[int, int], corner: tuple[int, int]
) -> None:
    running = serve()
    answer = posted(running, seed=7, prompt="a quiet sea", **sides)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    assert (answer.headers["seed"], answer.headers["finish-reason"]) == ("7", "SUCCESS")
    result = Image.open(io.BytesIO(answer.content)).convert("RGB")
    assert result.size == size
    # Inside of the border that is blended.
    inner = np.asarray(result)[corner[1] + 9 : corner[1] + 27, corner[0] + 9 : corner[0] + 31]
    assert np.array_equal(inner, picture()[9:27, 9:31])
    assert running.balance == 1_000_000 - PRICE


def test_json_is_answered_where_accept_asks_for_it(serve: Serve) -> None:
    said = posted(serve(), accept="application/json", right=24, output_format="webp").json()
    assert said["finish_reason"] == "SUCCESS" and said["seed"] > 0
    assert Image.open(io.BytesIO(base64.b64decode(said["image"]))).format == "WEBP"


def test_creativity_is_how_much_of_the_filling_is_painted_anew(serve: Serve) -> None:
    running = serve()
    pictures = {posted(running, right=24, seed=7, creativity=much).content for much in (0, 1)}
    assert len(pictures) == 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "left, right, up and down are all 0"),
        ({"left": 2001}, "left must be less than or equal to 2000"),
        ({"left": 100}, "The result would be 140x36; at most 128 pixels"),
        ({"left": 8, "image": "text"}, "image must be a file, not text"),
        ({"left": 8, "style_preset": "anime"}, "style_preset cannot be honoured here"),
        ({"left": 8, "output_format": "gif"}, "output_format must be"),
        ({"left": 8, "creativity": 2}, "creativity must be"),
        ({"left": 8, "accept": "text/html"}, "accept must be image/* or application/json"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(serve: Serve, fields: dict[str, Any], says: str) -> None:
    running = serve()
    answer = posted(running, **fields)
    assert (answer.status_code, answer.json()["name"]) == (400, "bad_request")
    assert answer.json()["errors"][0].startswith(says)
    assert running.balance == 1_000_000


def test_wrong_keys_missing_credits_and_unknown_paths_have_their_shape(serve: Serve) -> None:
    poor = serve(credits=0)
    assert (posted(poor, left=8).status_code, posted(poor, left=8).json()["name"]) == (402, "payment_required")
    answer = poor.client.post(PATH, headers={"x-api-key": "none"})
    assert (answer.status_code, answer.json()["name"]) == (401, "unauthorized")
    assert poor.client.post("/v2beta/stable-image/edit/erase").json()["name"] == "not_found"


def test_a_client_that_hangs_up_stops_its_run_and_pays_nothing(serve: Serve) -> None:
    gate = Gate()
    running = serve(unet=gate, steps_default=100)
    gate.close()
    running.client.timeout = 0.5
    with pytest.raises(httpx2.ReadTimeout):
        posted(running, left=8)
    until(lambda: running.states() == ["FAILED"])
    gate.open()
    assert running.balance == 1_000_000
