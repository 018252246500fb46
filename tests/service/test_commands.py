"""`outpaint serve` and `outpaint keys`."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result

from outpaint_engine.cli import cli
from outpaint_engine.errors import BackendUnavailable
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.store import Store
from outpaint_engine.shared import SharedPipeline

from .running import until


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def keys(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("keys", "list", "--json", "--store", url).output)
    return found


def test_a_key_that_is_made_opens_the_door(url: str) -> None:
    key = run("keys", "create", "--owner", "ann", "--credits", "2.5", "--store", url).output.strip()
    with closing(Store(url)) as store:
        assert Accounts(store).owner_of(key) == "ann"
    assert [(row["owner"], row["balance"], row["disabled"]) for row in keys(url)] == [("ann", "2.5", False)]


def test_the_list_shows_no_key(url: str) -> None:
    key = run("keys", "create", "--owner", "ann", "--store", url).output.strip()
    shown = run("keys", "list", "--store", url).output
    assert key.split("_")[1] in shown and key.split("_", 2)[2] not in shown


def test_a_key_is_disabled_by_its_id(url: str) -> None:
    key = run("keys", "create", "--owner", "ann", "--store", url).output.strip()
    run("keys", "disable", key.split("_")[1], "--store", url)
    assert keys(url)[0]["disabled"] is True


def test_a_grant_prints_the_balance(url: str) -> None:
    run("keys", "create", "--owner", "ann", "--credits", "1", "--store", url)
    assert run("keys", "grant", "ann", "0.5", "--store", url).output == "1.5\n"


@pytest.mark.parametrize("amount", ["x", "1.0000001", "NaN", "1e30"])
def test_credits_that_are_no_amount_are_a_usage_error(url: str, amount: str) -> None:
    result = run("keys", "create", "--owner", "ann", "--credits", amount, "--store", url)
    assert (result.exit_code, "six decimals" in result.output) == (2, True)


def test_a_key_does_not_begin_with_debts(url: str) -> None:
    result = run("keys", "create", "--owner", "ann", "--credits", "-5", "--store", url)
    assert (result.exit_code, "0 credits or more" in result.output) == (2, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_address_of_the_network_is_bound_without_a_key(url: str, host: str) -> None:
    result = run("serve", "--host", host, "--store", url)
    assert (result.exit_code, "there is no API key" in result.output) == (2, True)


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedPipeline, "from_pretrained", lambda *_, **__: pytest.fail("the model was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = run("serve", "--port", port, "--store", url)
    assert result.exit_code == 2
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Try another --port." in result.output


@pytest.mark.parametrize("words", [("serve",), ("keys", "list")])
def test_without_the_extra_the_pip_line_is_said(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sqlalchemy" else find(name))
    result = run(*words)
    assert isinstance(result.exception, BackendUnavailable)
    assert str(result.exception) == 'The service needs sqlalchemy. Try: pip install "outpaint_engine[serve]"'


def test_without_ray_a_cluster_says_the_pip_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    result = run("serve", "--cluster", "auto", "--store", url)
    assert isinstance(result.exception, BackendUnavailable)
    assert str(result.exception) == 'A cluster needs Ray. Try: pip install "outpaint_engine[serve,cluster]"'


@pytest.mark.parametrize("option", [("--replicas", "2"), ("--painter-cores", "1"), ("--painter-gpus", "1")])
def test_options_of_a_cluster_are_refused_without_one(url: str, option: tuple[str, str]) -> None:
    result = run("serve", *option, "--store", url)
    assert (result.exit_code, "give --cluster too" in result.output) == (2, True)


@pytest.mark.filterwarnings("default")
def test_the_demo_is_served_and_stops_when_asked(tmp_path: Path, body: dict[str, Any]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")
    url = f"sqlite:///{tmp_path}/store.db"
    key = run("keys", "create", "--owner", "ann", "--credits", "1", "--store", url).output.strip()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (tmp_path / "small.toml").write_text(
        "canvas_sides = [128]\ncanvas_default = 128\nsteps = [2, 9]\nsteps_default = 2\n"
    )
    command = [sys.executable, "-m", "outpaint_engine", "serve", "--port", str(port), "--store", url]
    more = ["--results", str(tmp_path / "out"), "--configuration", str(tmp_path / "small.toml")]
    address = f"http://127.0.0.1:{port}"
    with (
        subprocess.Popen([*command, *more], stderr=subprocess.PIPE) as process,
        httpx2.Client(base_url=address, headers={"x-api-key": key}, timeout=30) as client,
    ):
        try:
            until(lambda: answers(client), 90)
            answer = client.post("/v1/sd1.5-outpaint", json=body)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=20)[1].decode()
        finally:
            process.kill()
    assert answer.status_code == 200 and answer.content.startswith(b"\xff\xd8\xff")
    assert process.returncode == 0, said
    assert "/v1/sd1.5-outpaint 200" in said and key not in said and body["prompt"] not in said


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.HTTPError:
        return False
