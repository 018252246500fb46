"""`python -m benchmarks.service.load [throughput] [crowd]`: the demo behind `outpaint serve`, measured.

`throughput`: seconds a picture takes one by one and at 8 clients, on a server that loads the model twice and on one
that loads it once, in turns. Written to benchmarks/results/service/throughput.json.
`crowd`: what 200 clients at once were answered, three times, and the server's memory before and after.
"""

import base64
import collections
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2

from outpaint_engine.machine import usable_cores
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.store import Store

ROUNDS, ALONE, TOGETHER, CLIENTS, CROWD = 3, 6, 16, 8, 200
SIDE, STEPS = 256, 10
TWICE = ("true", "false")
PICTURE = base64.b64encode(Path("examples/sunset-mountains.png").read_bytes()).decode()
RESULT = Path("benchmarks/results/service/throughput.json")
CONFIGURATION = """
canvas_sides = [128, 256]
canvas_default = 256
steps = [2, 100]
steps_default = 10
requests_per_minute = 100000
"""


class Server(NamedTuple):
    """A client of a server that answers, the server's process and its accounts."""

    client: httpx2.Client
    process: int
    accounts: Accounts


def main(*parts: str) -> None:
    for part in parts or ("throughput", "crowd"):
        {"throughput": throughput, "crowd": crowd}[part]()


@contextmanager
def served(extra: str = "", configuration: str = CONFIGURATION, program: str = "outpaint_engine") -> Iterator[Server]:
    """`outpaint serve` with the demo; `extra` is added to its configuration."""
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder}/store.db"
    accounts = Accounts(Store(url))
    key = accounts.create_key("load", 10**9)
    (folder / "small.toml").write_text(configuration + extra)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", program, "serve", "--port", str(port), "--store", url]
    command += ["--results", str(folder / "out"), "--configuration", str(folder / "small.toml")]
    limits, base = httpx2.Limits(max_connections=None), f"http://127.0.0.1:{port}"
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as process,
        httpx2.Client(base_url=base, headers={"x-api-key": key}, timeout=120, limits=limits) as client,
    ):
        try:
            wait(client)
            yield Server(client, process.pid, accounts)
        finally:
            process.terminate()


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


def throughput() -> None:
    times: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        loaded = {f"load_twice = {twice}": stack.enter_context(served(f"load_twice = {twice}")) for twice in TWICE}
        for server in loaded.values():
            sender(server.client, SIDE, STEPS)(0)
        for _ in range(ROUNDS):
            for name, server in loaded.items():
                for way, seconds in one_round(server).items():
                    times.setdefault(name, {}).setdefault(way, []).append(round(seconds, 4))
    for name, ways in times.items():
        alone, together = median(ways["alone"]), median(ways["together"])
        print(f"{name:18} one by one {alone:.3f} s, {CLIENTS} clients {together:.3f} s: {alone / together:.2f}x")
    RESULT.write_text(json.dumps({**setting(), "seconds_a_picture": times}, indent=1) + "\n")


def one_round(server: Server) -> dict[str, float]:
    """Seconds a picture, one by one and at 8 clients; the pictures must be equal byte for byte."""
    one = sender(server.client, SIDE, STEPS)
    began = time.perf_counter()
    alone = [one(seed).content for seed in range(ALONE)]
    middle = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        together = [answer.content for answer in pool.map(one, range(TOGETHER))]
    ended = time.perf_counter()
    if alone != together[:ALONE]:
        raise SystemExit("A picture made beside others differs from the same made alone.")
    return {"alone": (middle - began) / ALONE, "together": (ended - middle) / TOGETHER}


def setting() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "canvas": [SIDE, SIDE],
        "steps": STEPS,
        "clients": CLIENTS,
        "cores": usable_cores(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "onnxruntime": version("onnxruntime")},
        "date": date.today().isoformat(),
    }


def crowd() -> None:
    with served() as server:
        one = sender(server.client, 128, 2)
        for turn in range(3):
            before = memory(server.process)
            with ThreadPoolExecutor(CROWD) as pool:
                counted = dict(collections.Counter(answer.status_code for answer in pool.map(one, range(CROWD))))
            print(f"{CROWD} clients, turn {turn + 1}: {counted}; memory {before} -> {memory(server.process)} MiB")


def memory(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def wait(client: httpx2.Client) -> None:
    for _ in range(1500):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("The server did not start.")


if __name__ == "__main__":
    main(*sys.argv[1:])
