"""`python -m tests.service.load [WORKERS [throughput] [crowd]]`: the demo behind `outpaint serve`, measured.

`throughput`: pictures a second one by one and at 8 clients, and whether they are equal byte for byte.
`crowd`: what 200 clients at once were answered, three times, and the server's memory before and after.
"""

import base64
import collections
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from outpaint_engine.service.accounts import Accounts
from outpaint_engine.service.store import Store

REQUESTS, CLIENTS, CROWD = 12, 8, 200
PICTURE = base64.b64encode(Path("examples/sunset-mountains.png").read_bytes()).decode()
CONFIGURATION = """
canvas_sides = [128, 256]
canvas_default = 256
steps = [2, 100]
steps_default = 10
requests_per_minute = 100000
"""


def main(workers: str = "4", *parts: str) -> None:
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder}/store.db"
    key = Accounts(Store(url)).create_key("load", 10**9)
    (folder / "small.toml").write_text(CONFIGURATION)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "outpaint_engine", "serve", "--port", str(port), "--store", url]
    command += ["--results", str(folder / "out"), "--configuration", str(folder / "small.toml"), "--workers", workers]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        limits = httpx2.Limits(max_connections=None)
        base = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=base, headers={"x-api-key": key}, timeout=120, limits=limits) as client:
            wait(client)
            for part in parts or ("throughput", "crowd"):
                {"throughput": throughput, "crowd": crowd}[part](client, server.pid)
        server.terminate()


def sender(client: httpx2.Client, side: int, steps: int) -> Callable[[int], httpx2.Response]:
    """Sends the request with a seed and waits for its picture."""
    fields: dict[str, Any] = {
        "image": PICTURE,
        "prompt": "sunset mountains",
        "scale": 0.5,
        "offset_x": 64,
        "offset_y": 64,
    }
    fields |= {"img_width": side, "img_height": side, "num_inference_steps": steps}
    return lambda seed: client.post("/v1/sd1.5-outpaint", json=fields | {"seed": seed})


def throughput(client: httpx2.Client, process: int) -> None:
    one = sender(client, 256, 10)
    one(0)
    began = time.perf_counter()
    alone = [one(seed).content for seed in range(REQUESTS)]
    single = REQUESTS / (time.perf_counter() - began)
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        together = [answer.content for answer in pool.map(one, range(REQUESTS))]
        many = REQUESTS / (time.perf_counter() - began)
    print(f"one by one {single:.2f}/s, {CLIENTS} clients {many:.2f}/s: {many / single:.2f}x", flush=True)
    print(f"pictures equal byte for byte: {alone == together}", flush=True)


def crowd(client: httpx2.Client, process: int) -> None:
    one = sender(client, 128, 2)
    for turn in range(3):
        before = memory(process)
        with ThreadPoolExecutor(CROWD) as pool:
            statuses = [answer.status_code for answer in pool.map(one, range(CROWD))]
        counted = dict(collections.Counter(statuses))
        print(f"{CROWD} clients, turn {turn + 1}: {counted}; memory {before} -> {memory(process)} MiB", flush=True)


def memory(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def wait(client: httpx2.Client) -> None:
    for _ in range(300):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("The server did not start.")


if __name__ == "__main__":
    main(*sys.argv[1:])
