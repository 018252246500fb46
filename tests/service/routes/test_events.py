"""Server-sent events: what happens to a request, told as it happens."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from ..running import Gate, Running, until

Serve = Callable[..., Running]


def told(running: Running, identity: str, preview: bool = False) -> list[dict[str, Any]]:
    """What each event says, until the server ends the answer."""
    with running.client.stream("GET", f"/v2/requests/{identity}/events?preview={str(preview).lower()}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]


def slowly(**feeds: Any) -> Any:
    time.sleep(0.02)
    return {"out_sample": feeds["sample"][:, :4]}


def test_each_step_is_told_and_the_end_comes_last(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(unet=slowly)
    said = told(running, running.submit(body | {"num_inference_steps": 20}), preview=True)
    steps = [one["progress"]["step"] for one in said if one["status"] == "PROCESSING"]
    assert steps == sorted(steps) and len(set(steps)) > 10
    assert said[-1]["status"] == "COMPLETED" and said[-1]["metrics"]["cost"] == 0.0109
    previews = [one["progress"]["preview"] for one in said if "preview" in one["progress"]]
    assert base64.b64decode(previews[0].partition(",")[2]).startswith(b"\xff\xd8\xff")


def test_a_request_that_has_ended_is_told_once(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    identity = running.submit(body)
    running.ended(identity)
    assert [one["status"] for one in told(running, identity)] == ["COMPLETED"]


def test_who_stops_listening_to_v2_cancels_nothing(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    identity = running.submit(body)
    with running.client.stream("GET", f"/v2/requests/{identity}/events") as answer:
        next(answer.iter_lines())
    gate.open()
    assert running.ended(identity)["status"] == "COMPLETED"


def test_another_account_is_told_nothing(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    identity = running.submit(body)
    other = {"x-api-key": running.accounts.create_key("listener")}
    assert running.client.get(f"/v2/requests/{identity}/events", headers=other).status_code == 404
    until(lambda: running.ended(identity))
