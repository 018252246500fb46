"""The safety checker over HTTP, by the service's configuration: a header, a field, or a refusal."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import RequestError, SharedPipeline
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.painting import Painter, painter_of

from ..conftest import toy_pipeline
from ..toy_checker import toy_checker
from .running import Gate, Running, encoded, until

Serve = Callable[..., Running]
RED, GREY = np.full((64, 64, 3), (255, 0, 0), np.uint8), np.full((64, 64, 3), 127, np.uint8)


def test_a_header_says_whether_the_picture_was_flagged(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(checker=toy_checker(), safety="flag")
    for pixels, expected in ((RED, "true"), (GREY, "false")):
        answer = running.post(body | {"image": encoded(pixels), "scale": 1.0, "offset_x": 8, "offset_y": 0})
        assert answer.status_code == 200
        assert answer.headers["x-safety-flagged"] == expected
        said = running.ended(answer.headers["x-request-id"])
        assert said["safety_flagged"] is (expected == "true")
        report = running.client.get(said["quality_report"]).json()
        assert report["safety"][0]["flagged"] is (expected == "true")


def test_a_flagged_picture_is_refused_with_a_sentence_and_not_charged(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(checker=toy_checker(), safety="refuse")
    before = running.balance
    answer = running.post(body | {"image": encoded(RED), "scale": 1.0, "offset_x": 8, "offset_y": 0})
    assert answer.status_code == 406
    assert answer.json()["error"].startswith("The safety checker flagged 1 of 1 pictures (seed 7), so none is given.")
    assert running.balance == before


def test_what_may_be_refused_is_not_shown_before(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate, checker=toy_checker(), safety="refuse")
    gate.open(calls=1)
    identity = running.submit(body | {"num_inference_steps": 10})
    try:
        asked = until(lambda: _progress(running, identity, step=1))
        gate.open(calls=4)
        seen = until(lambda: _progress(running, identity, step=4))
    finally:
        gate.open()
    assert "preview" not in asked and "preview" not in seen


def _progress(running: Running, identity: str, step: int) -> dict[str, Any] | None:
    """Asks for a preview, too; what is answered from this step on."""
    said: dict[str, Any] = running.client.get(f"/v2/requests/{identity}/status?preview=true").json()["progress"]
    return said if said["step"] >= step else None


def test_nothing_is_said_where_nobody_looked(serve: Serve, body: dict[str, Any]) -> None:
    answer = serve(checker=toy_checker()).post(body)
    assert "x-safety-flagged" not in answer.headers


def test_a_service_whose_engine_set_lacks_what_the_configuration_asks_for_does_not_start() -> None:
    with pytest.raises(RequestError, match="has no safety checker"):
        Painter(SharedPipeline(toy_pipeline()), safety="flag")
    with pytest.raises(RequestError, match="has no tiny decoder"):
        painter_of(Configuration(decoder="tiny"), SharedPipeline(toy_pipeline()))
