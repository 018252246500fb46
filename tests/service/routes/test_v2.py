"""Submit, poll, fetch, cancel."""

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from ..running import Gate, Running, until

Serve = Callable[..., Running]


def test_a_submitted_request_is_queued_and_says_where_to_look(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    said = running.post(body, 2).json()
    identity = said["request_id"]
    assert said == {
        "request_id": identity,
        "status": "QUEUED",
        "poll_url": f"{running.url}/v1/requests/{identity}",
        "status_url": f"{running.url}/v2/requests/{identity}/status",
        "response_url": f"{running.url}/v2/requests/{identity}",
    }


def test_every_url_of_an_answer_works(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    said = running.post(body, 2).json()
    running.ended(said["request_id"])
    for name in ("poll_url", "status_url", "response_url"):
        assert running.client.get(said[name]).json()["status"] == "COMPLETED"


def test_a_completed_request_has_a_picture_a_report_and_its_cost(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    said = running.ended(running.submit(body))
    assert said["status"] == "COMPLETED" and said["error"] is None and said["seed"] == 7
    assert running.client.get(said["output"]).content.startswith(b"\xff\xd8\xff")
    report = running.client.get(said["quality_report"]).json()
    assert report["quality"]["changed_pixels"] == 0 and report["seed"] == 7
    metrics = said["metrics"]
    assert metrics["cost"] == 0.0109 and metrics["remaining_credits"] == 0.9891 and metrics["retry_count"] == 0
    assert metrics["total_time"] >= metrics["inference_time"] > 0


def test_base64_puts_the_picture_into_the_answer(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    said = running.ended(running.submit(body | {"base64": True}))
    assert base64.b64decode(said["output"]).startswith(b"\xff\xd8\xff")


def test_urls_do_not_follow_the_host_header(serve: Serve, body: dict[str, Any]) -> None:
    said = serve().post(body, 2, Host="evil.example").json()
    assert "evil" not in str(said)


def test_a_failed_request_is_422_on_both_addresses_and_names_no_cost(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    truncated = base64.b64encode(base64.b64decode(body["image"])[:200]).decode()
    identity = running.submit(body | {"image": truncated})
    running.ended(identity)
    for path in (f"/v2/requests/{identity}", f"/v2/requests/{identity}/status"):
        answer = running.client.get(path)
        assert answer.status_code == 422
        assert answer.json()["status"] == "FAILED" and "damaged" in answer.json()["error"]
        assert not {"cost", "remaining_credits"} & set(answer.json()["metrics"])
    assert running.balance == 1_000_000


def test_cancelling_ends_a_run_and_gives_the_hold_back(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    identity = running.submit(body)
    until(lambda: running.client.get(f"/v2/requests/{identity}/status").json()["status"] == "PROCESSING")
    answer = running.client.delete(f"/v2/requests/{identity}")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["error"]) == ("FAILED", "cancelled")
    assert running.balance == 1_000_000
    gate.open()
    assert running.client.get(f"/v2/requests/{identity}").status_code == 422


def test_a_cancelled_request_can_be_cancelled_again(serve: Serve, body: dict[str, Any]) -> None:
    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    identity = running.submit(body)
    answers = [running.client.delete(f"/v2/requests/{identity}").status_code for _ in range(2)]
    gate.open()
    assert answers == [200, 200]


def test_a_completed_request_cannot_be_cancelled(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    identity = running.submit(body)
    running.ended(identity)
    answer = running.client.delete(f"/v2/requests/{identity}")
    assert (answer.status_code, answer.json()["error"]) == (409, "The request has ended already: COMPLETED.")


def test_the_status_has_the_step_and_a_preview_when_asked(serve: Serve, body: dict[str, Any]) -> None:
    def slow(**feeds: Any) -> Any:
        time.sleep(0.02)
        return {"out_sample": feeds["sample"][:, :4]}

    running = serve(unet=slow)
    identity = running.submit(body | {"num_inference_steps": 100})
    seen = until(lambda: preview_of(running, identity))
    assert 0 < seen["step"] <= seen["steps"] == 100
    assert base64.b64decode(seen["preview"].partition(",")[2]).startswith(b"\xff\xd8\xff")


def preview_of(running: Running, identity: str) -> Any:
    said = running.client.get(f"/v2/requests/{identity}/status?preview=true").json()
    assert said["status"] != "COMPLETED"
    return said["progress"] if "preview" in said["progress"] else None


def test_a_completed_request_has_all_its_steps(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    identity = running.submit(body | {"num_inference_steps": 12})
    running.ended(identity)
    assert running.client.get(f"/v2/requests/{identity}/status").json()["progress"] == {"step": 12, "steps": 12}


@pytest.mark.parametrize("path", ["/v2/requests/{}", "/v2/requests/{}/status", "/v2/results/{}.jpg"])
def test_another_account_sees_nothing(serve: Serve, body: dict[str, Any], path: str) -> None:
    running = serve()
    identity = running.submit(body)
    running.ended(identity)
    other = {"x-api-key": running.accounts.create_key("stranger")}
    assert running.client.get(path.format(identity), headers=other).status_code == 404
    assert running.client.get(path.format(identity), headers={"x-api-key": "none"}).status_code == 401


def test_a_signed_link_needs_no_key(serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    link = running.ended(running.submit(body))["output"]
    del running.client.headers["x-api-key"]
    assert running.client.get(link).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link[:-1] + ("0" if link[-1] != "0" else "1"),
        lambda link: link.replace(".jpg", ".json"),
        lambda link: link.replace("expires=", "expires=9"),
        lambda link: link.partition("?")[0],
        lambda link: link.partition("&")[0] + "&signature=%C3%A9",
    ],
)
def test_a_changed_link_needs_a_key(serve: Serve, body: dict[str, Any], change: Callable[[str], str]) -> None:
    running = serve()
    link = running.ended(running.submit(body))["output"]
    del running.client.headers["x-api-key"]
    assert running.client.get(change(link)).status_code == 401


def test_an_expired_link_needs_a_key(serve: Serve, body: dict[str, Any]) -> None:
    running = serve(link_seconds=1e-9)
    link = running.ended(running.submit(body))["output"]
    del running.client.headers["x-api-key"]
    assert running.client.get(link).status_code == 401
