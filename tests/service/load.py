"""`python -m tests.service.load [WORKERS]`: the demo model behind `outpaint serve`, measured with 1, 8 and 200 clients.

Prints pictures a second one by one and at 8 clients, whether the pictures are equal byte for byte, then what 200
clients at once were answered and the server's memory before and after.
"""

import base64
import collections
import os
import socket
import subprocess
import sys
import tempfile
import time
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


def main(workers: str = "4") -> None:
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
            measure(client, server.pid)
        server.terminate()


def measure(client: httpx2.Client, process: int) -> None:
    def one(seed: int, side: int = 256, steps: int = 10) -> httpx2.Response:
        fields: dict[str, Any] = {"image": PICTURE, "prompt": "sunset mountains", "seed": seed, "scale": 0.5}
        more = {"img_width": side, "img_height": side, "num_inference_steps": steps, "offset_x": 64, "offset_y": 64}
        return client.post("/v1/sd1.5-outpaint", json=fields | more)

    one(0)
    began = time.perf_counter()
    alone = [one(seed).content for seed in range(REQUESTS)]
    single = REQUESTS / (time.perf_counter() - began)
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        together = [answer.content for answer in pool.map(one, range(REQUESTS))]
        many = REQUESTS / (time.perf_counter() - began)
    print(
        f"one by one {single:.2f}/s, {CLIENTS} clients {many:.2f}/s: {many / single:.2f}x; equal: {alone == together}"
    )
    for turn in range(2):
        before = memory(process)
        with ThreadPoolExecutor(CROWD) as pool:
            statuses = [answer.status_code for answer in pool.map(lambda seed: one(seed, 128, 2), range(CROWD))]
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
