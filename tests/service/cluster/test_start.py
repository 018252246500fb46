"""`outpaint serve --cluster auto` where no cluster runs: one command, the demo, ready within a minute."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: the extra `cluster`")
pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra `openvino`")

from ..running import until


def test_the_demo_is_served_on_a_cluster_of_its_own_and_stops_when_asked(tmp_path: Path, body: dict[str, Any]) -> None:
    outpaint, store = [sys.executable, "-m", "outpaint_engine"], f"sqlite:///{tmp_path}/store.db"
    create = [*outpaint, "keys", "create", "--owner", "ann", "--credits", "1", "--store", store]
    key = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (tmp_path / "small.toml").write_text(
        "canvas_sides = [128]\ncanvas_default = 128\nsteps = [2, 9]\nsteps_default = 2\n"
    )
    command = [*outpaint, "serve", "--cluster", "auto", "--port", str(port), "--store", store]
    more = ["--results", str(tmp_path / "out"), "--configuration", str(tmp_path / "small.toml")]
    address = f"http://127.0.0.1:{port}"
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, *more], stdout=log, stderr=log, env=os.environ | {"RAY_worker_niceness": "0"}
        ) as run,
        httpx2.Client(base_url=address, headers={"x-api-key": key}, timeout=30) as client,
    ):
        try:
            until(lambda: run.poll() is not None or ready(client), 60)
            answer = client.post("/v1/sd1.5-outpaint", json=body)
            run.send_signal(signal.SIGTERM)
            assert (answer.status_code, run.wait(60)) == (200, 0), (tmp_path / "log").read_text()
        finally:
            run.terminate()


def ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.HTTPError:
        return False
