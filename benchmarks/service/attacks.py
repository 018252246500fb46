"""`python -m benchmarks.service.attacks`: what a well-behaved client notices while the service is attacked.

The demo behind `outpaint serve` on this machine, and a client that asks v1 for one picture after another. Before each
attack it is timed in quiet, then for a minute under the attack. Written to benchmarks/results/service/attacks.json.

    scans    JPEGs of thousands of scans, and of as many as are taken, as fast as they can be sent
    bodies   nine slow bodies of an account without credits, nine of one with credits
    heads    300 connections that send half a head
    queue    an account that keeps as many long jobs waiting as it may
    hang     a call of the UNet that never ends

Everything goes to 127.0.0.1, and to servers that this program starts.
"""

import argparse
import base64
import io
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from .load import Server, sender, served, setting

RESULT = Path("benchmarks/results/service/attacks.json")
SEED, SIDE, STEPS, POISON = 1, 128, 10, 192
BOUND = 3.0
CONFIGURATION = f"""
canvas_sides = [128, {POISON}, 256]
canvas_default = 256
steps = [2, 100]
steps_default = 10
requests_per_minute = 600
lease_seconds = 10
"""
Attack = Callable[[Server, threading.Event, "Counter[str]"], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    parser.add_argument("--quiet", type=float, default=20, help="seconds before each attack")
    parser.add_argument("--under", type=float, default=60, help="seconds of each attack")
    chosen = parser.parse_args()
    with served(configuration=CONFIGURATION, program="benchmarks.service.hanging_server") as server:
        sender(server.client, SIDE, STEPS)(0)
        found = {name: measured(server, name, chosen.quiet, chosen.under) for name in chosen.attacks or ATTACKS}
    if chosen.attacks and RESULT.exists():
        found = json.loads(RESULT.read_text())["attacks"] | found
    RESULT.write_text(
        json.dumps(
            {**setting(), "canvas": [SIDE, SIDE], "steps": STEPS, "seconds": chosen.under, "attacks": found}, indent=1
        )
        + "\n"
    )
    slow = [name for name, figures in found.items() if figures["ratio"] > BOUND or figures["refused"]]
    if slow:
        raise SystemExit(f"Beyond {BOUND:g} times the quiet time, or refused: {', '.join(slow)}.")


def measured(server: Server, name: str, quiet: float, under: float) -> dict[str, Any]:
    """One attack, and the quiet before it."""
    one = sender(server.client, SIDE, STEPS)
    before, refused_before = answers(one, quiet)
    stop, counted = threading.Event(), Counter[str]()
    attacker = threading.Thread(target=ATTACKS[name], args=(server, stop, counted))
    attacker.start()
    during, refused = answers(one, under)
    stop.set()
    attacker.join()
    ready = server.client.get("/readyz").json()
    figures = {"quiet": summary(before), "attacked": summary(during), "refused": refused_before + refused}
    figures["ratio"] = round(median(during) / median(before), 2) if during else float("inf")
    figures["ratio_of_90_percent"] = round(figures["attacked"]["p90"] / figures["quiet"]["p90"], 2)
    print(
        f"{name:8} {figures['ratio']:5.2f} times the quiet time of {median(before):.3f} s; attacker saw {dict(counted)}"
    )
    return figures | {"attacker_saw": dict(counted), "ready_after": ready}


def answers(one: Callable[[int], httpx2.Response], seconds: float) -> tuple[list[float], int]:
    """Seconds of each answer, asked for once a second at the most, and how many were no picture."""
    times, refused, ends = [], 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        answer = one(len(times))
        if answer.status_code == 200:
            times.append(time.perf_counter() - began)
        else:
            refused += 1
        time.sleep(max(0.0, 1 - (time.perf_counter() - began)))
    return times, refused


def summary(times: list[float]) -> dict[str, float]:
    """The middle, the slowest tenth and the worst."""
    p90 = quantiles(times, n=10)[-1] if len(times) > 1 else times[0]
    return {
        "answers": len(times),
        "median": round(median(times), 3),
        "p90": round(p90, 3),
        "worst": round(max(times), 3),
    }


def scans(server: Server, stop: threading.Event, counted: "Counter[str]") -> None:
    pictures = [base64.b64encode(progressive(side, many)).decode() for side, many in ((64, 6000), (1500, 85))]
    with attacker(server, 10**9) as client:
        for turn in until(stop):
            counted[status(client, fields(pictures[turn % 2], 2))] += 1


def bodies(server: Server, stop: threading.Event, counted: "Counter[str]") -> None:
    keys = [server.accounts.create_key(f"slow{credits}", credits) for credits in (0, 10**9)]
    half = (
        b"POST /v1/sd1.5-outpaint HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900000\r\n"
    )
    held(server, stop, counted, [half + f"x-api-key: {key}\r\n\r\n{{".encode() for key in keys for _ in range(9)])


def heads(server: Server, stop: threading.Event, counted: "Counter[str]") -> None:
    held(server, stop, counted, [b"POST /v1/sd1.5-outpaint HTTP/1.1\r\nhost: x\r\nx-api"] * 300)


def queue(server: Server, stop: threading.Event, counted: "Counter[str]") -> None:
    picture, accepted = base64.b64encode(progressive(64, 0)).decode(), []
    with attacker(server, 10**9) as client:
        for turn in until(stop):
            answer = client.post("/v2/sd1.5-outpaint", json=fields(picture, 100))
            counted[str(answer.status_code)] += 1
            if answer.status_code == 200:
                accepted.append(answer.json()["request_id"])
            stop.wait(0.02 if turn < 60 else 1)
        for job in accepted:
            client.delete(f"/v2/requests/{job}")


def hang(server: Server, stop: threading.Event, counted: "Counter[str]") -> None:
    picture = base64.b64encode(progressive(64, 0)).decode()
    with attacker(server, 10**9) as client:
        counted[status(client, fields(picture, 2) | {"img_width": POISON, "img_height": POISON})] += 1
    stop.wait()


ATTACKS: Mapping[str, Attack] = {"scans": scans, "bodies": bodies, "heads": heads, "queue": queue, "hang": hang}


def held(server: Server, stop: threading.Event, counted: "Counter[str]", starts: list[bytes]) -> None:
    """Keep a connection open for each of `starts`, a byte a second; open it again where it was closed."""
    address = (server.client.base_url.host, server.client.base_url.port or 80)
    sockets: dict[int, socket.socket] = {}
    while not stop.wait(1):
        for number, start in enumerate(starts):
            try:
                if number not in sockets:
                    sockets[number] = socket.create_connection(address, timeout=2)
                    sockets[number].sendall(start)
                    sockets[number].setblocking(False)
                    counted["opened"] += 1
                sockets[number].send(b" ")
                with suppress(BlockingIOError):
                    counted[sockets[number].recv(4096)[9:12].decode() or "closed"] += 1
                    sockets.pop(number).close()
            except OSError:
                counted["closed"] += 1
                if number in sockets:
                    sockets.pop(number).close()
    for connection in sockets.values():
        connection.close()


@contextmanager
def attacker(server: Server, credits: int) -> Iterator[httpx2.Client]:
    key = server.accounts.create_key(f"attacker{time.monotonic_ns()}", credits)
    with httpx2.Client(base_url=server.client.base_url, headers={"x-api-key": key}, timeout=120) as client:
        yield client


def until(stop: threading.Event) -> Iterator[int]:
    turn = 0
    while not stop.is_set():
        yield turn
        turn += 1


def fields(picture: str, steps: int) -> dict[str, Any]:
    sides = {"img_width": 256, "img_height": 256, "scale": 0.1, "seed": SEED}
    return {"image": picture, "prompt": "hills", "num_inference_steps": steps} | sides


def status(client: httpx2.Client, body: dict[str, Any]) -> str:
    return str(client.post("/v2/sd1.5-outpaint", json=body).status_code)


def progressive(side: int, more: int) -> bytes:
    """A progressive JPEG of noise whose last scan is repeated."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(SEED).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", progressive=True, quality=30)
    content = buffer.getvalue()
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[start:end] * more + content[end:]


if __name__ == "__main__":
    sys.exit(main())
