"""Clients that we did not write: Segmind's own SDK, and a fuzzer that reads our OpenAPI document."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..running import Gate, Running, until

SLUG = "sd1.5-outpaint"
Serve = Callable[..., Running]
Client = Callable[..., Any]


@pytest.fixture
def sdk() -> Any:
    return pytest.importorskip("segmind", reason="segmind is not installed: the extra `service-test`")


@pytest.fixture
def client_of(sdk: Any) -> Iterator[Callable[..., Any]]:
    """The SDK's client for a server, with the key that a test's account has or another."""
    made: list[Any] = []

    def build(running: Running, key: str | None = None) -> Any:
        made.append(sdk.SegmindClient(api_key=key or running.key, base_url=f"{running.url}/v1"))
        return made[-1]

    yield build
    for client in made:
        client._client.close()  # the SDK has no way of its own


def test_the_sdk_runs_and_waits(client_of: Client, serve: Serve, body: dict[str, Any]) -> None:
    running = serve()
    said = client_of(running).run(SLUG, **body)
    assert said["status"] == "COMPLETED"
    assert Image.open(io.BytesIO(running.client.get(said["output"]).content)).size == (64, 64)


def test_the_sdk_runs_in_one_call(client_of: Client, serve: Serve, body: dict[str, Any]) -> None:
    answer = client_of(serve()).run_sync(SLUG, **body)
    assert answer.content.startswith(b"\xff\xd8\xff")


def test_the_sdk_that_gives_up_waiting_is_not_charged(sdk: Any, serve: Serve, body: dict[str, Any]) -> None:
    """Its default is 30 seconds; `run` has no such limit, and a client with a longer `timeout` neither."""
    import httpx

    gate = Gate()
    running = serve(unet=gate)
    gate.close()
    client = sdk.SegmindClient(api_key=running.key, base_url=f"{running.url}/v1", timeout=0.5)
    with client._client, pytest.raises(httpx.ReadTimeout):
        client.run_sync(SLUG, **body)
    until(lambda: running.states() == ["FAILED"])
    gate.open()
    assert running.balance == 1_000_000


def test_the_sdk_submits_and_waits_later(client_of: Client, serve: Serve, body: dict[str, Any]) -> None:
    job = client_of(serve()).submit_async(SLUG, **body)
    assert job.wait(timeout=20, interval=0.05)["status"] == "COMPLETED"


def test_the_sdk_reports_a_failed_request(client_of: Client, serve: Serve, body: dict[str, Any]) -> None:
    from segmind.v2 import InferenceFailed

    job = client_of(serve()).submit_async(SLUG, **body | {"image": body["image"][:400]})
    with pytest.raises(InferenceFailed, match="damaged"):
        job.wait(timeout=20, interval=0.05)


def test_the_sdk_reports_missing_credits(sdk: Any, client_of: Client, serve: Serve, body: dict[str, Any]) -> None:
    with pytest.raises(sdk.SegmindError, match="Insufficient credits") as caught:
        client_of(serve(credits=0)).run(SLUG, **body)
    assert caught.value.status == 406


@pytest.mark.parametrize("verb", ["run", "run_sync"])
def test_the_sdk_reports_a_wrong_key(
    sdk: Any, client_of: Client, serve: Serve, body: dict[str, Any], verb: str
) -> None:
    with pytest.raises(sdk.SegmindError, match="Unauthorized") as caught:
        getattr(client_of(serve(), "SG_0123456789abcdef"), verb)(SLUG, **body)
    assert caught.value.status == 401


def test_a_fuzzer_finds_no_server_error_and_no_answer_that_is_not_documented(
    serve: Serve, body: dict[str, Any], tmp_path: Any
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: the extra `service-test`")
    running = serve(requests_per_minute=100_000)
    # The first picture waits for a decoder to start, which its clients need not.
    running.ended(running.submit(body))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{running.url}/openapi.json", "--header", f"x-api-key: {running.key}"),
        *("--header", f"authorization: Bearer {running.key}"),
        *("--checks", checks, "--max-time", os.environ.get("OUTPAINT_FUZZ", "20"), "--seed", "1", "--no-color"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
