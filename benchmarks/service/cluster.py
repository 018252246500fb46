"""`python -m benchmarks.service.cluster throughput | kills [DATABASE]`: the service on a Ray cluster in this machine.

`throughput`: one painter and two, in turns, at 16 clients of v1 and at 32, on a pretended accelerator: the toy model,
whose calls take a third of a second however many rows they have, one at a time in each painter. What is timed is the
service. A painter has 8 places, so 16 clients leave two painters no request in waiting: every place stands empty
until its client has its answer and asks again. With 32 both always have work.
`kills`: under load a painter, the Api or a node is killed at random, 20 times, on SQLite or an empty PostgreSQL
database; every accepted request must have ended once, the ledger balance and no hold be left.
Written to benchmarks/results/service/cluster-PART.json.
"""

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
from sqlalchemy import select

from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.queue.tables import Job
from tests.service.cluster.clusters import Running, running
from tests.service.cluster.load import Load
from tests.service.cluster.toys import calls
from tests.service.queue.test_crashes import all_ended, check_books
from tests.service.running import encoded, until

from .load import setting

ROUNDS, CLIENTS, SECONDS, CALL, PLACES = 2, (16, 32), 20.0, 1 / 3, 8
KILLS, SEED, GRANTED = 20, 18, 10**10
RESULT = "benchmarks/results/service/cluster-{}.json"
STEPS = 10
LIMITS = {"workers": PLACES, "concurrent_bodies": max(CLIENTS), "account_bodies": max(CLIENTS)}
BODY = {
    "image": encoded(np.full((48, 64, 3), 127, np.uint8)),
    "prompt": "a quiet sea",
    "scale": 0.5,
    "offset_x": 16,
    "offset_y": 16,
    "seed": 7,
    "num_inference_steps": STEPS,
}


def main(part: str, *database: str) -> None:
    found = throughput() if part == "throughput" else kills(*database)
    facts = setting()
    about = {name: facts[name] for name in ("cores", "machine", "date")} | {"ray": version("ray")}
    Path(RESULT.format(part)).write_text(json.dumps({"setting": about} | found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def throughput() -> dict[str, Any]:
    rounds = [rate(painters, clients) for _ in range(ROUNDS) for clients in CLIENTS for painters in (1, 2)]
    return {
        "call_seconds": CALL,
        "steps": STEPS,
        "workers": PLACES,
        "rounds": rounds,
        "at_clients": {clients: gained([each for each in rounds if each["clients"] == clients]) for clients in CLIENTS},
    }


def gained(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """What a second painter gives: pictures a second with two, by those with one, in the median."""
    one, two = (
        median(each["pictures_a_second"] for each in rounds if each["painters"] == painters) for painters in (1, 2)
    )
    return {"ratio": round(two / one, 3), "rows_a_call": median(each["rows_a_call"] for each in rounds)}


def rate(painters: int, clients: int) -> dict[str, Any]:
    """Pictures a second, once all clients have had one."""
    folder = Path(tempfile.mkdtemp())
    with running(folder, painters=str(painters), seconds=CALL, granted=GRANTED, **LIMITS) as cluster:
        until(lambda: cluster.ready(painters), 60)
        ended: list[float] = []
        stop = threading.Event()

        def one(client: httpx2.Client) -> None:
            while not stop.is_set():
                answer = client.post("/v1/sd1.5-outpaint", json=BODY)
                assert answer.status_code == 200, answer.text
                ended.append(time.monotonic())

        with cluster.client(120) as client, ThreadPoolExecutor(clients) as pool:
            running_clients = [pool.submit(one, client) for _ in range(clients)]
            until(lambda: len(ended) >= clients, 120)
            begun, rows_before = time.monotonic(), len(calls(folder))
            time.sleep(SECONDS)
            over, rows = time.monotonic(), calls(folder)[rows_before:]
            stop.set()
        for each in running_clients:
            each.result()
    pictures = sum(begun <= at <= over for at in ended)
    return {
        "painters": painters,
        "clients": clients,
        "pictures_a_second": round(pictures / (over - begun), 3),
        "rows_a_call": round(sum(rows) / len(rows), 2),
    }


def kills(database: str = "") -> dict[str, Any]:
    rng, folder = random.Random(SEED), Path(tempfile.mkdtemp())
    with running(folder, database=database, granted=GRANTED) as cluster:
        with Load(cluster, BODY, clients=3, pause=1.0) as load:
            rounds = [befall(cluster, load, rng) for _ in range(KILLS)]
        with closing(Store(cluster.database)) as store:
            until(lambda: all_ended(store), 600)
            check_books(store, folder / "results", GRANTED)
            with store.reading() as session:
                jobs = session.scalars(select(Job)).all()
    states = Counter(job.state if job.state == "COMPLETED" else f"FAILED: {job.error}" for job in jobs)
    assert sum(states.values()) == len(load.accepted) == len(set(load.accepted))
    return {
        "store": "PostgreSQL" if database else "SQLite",
        "kills": rounds,
        "accepted": len(load.accepted),
        "ended": dict(states),
        "painted_more_than_once": sum(job.attempt > 1 for job in jobs),
        "asked_again": load.unanswered,
        "books": "each ended once, the ledger balances, no hold is left",
    }


def befall(cluster: Running, load: Load, rng: random.Random) -> dict[str, Any]:
    """Kill something at a moment that nobody chose; how long until all is as before."""
    time.sleep(rng.uniform(0.5, 4))
    what = rng.choice(["painter", "api", "node"])
    before, began = len(load.accepted), time.monotonic()
    if what == "node":
        cluster.remove_node()
        time.sleep(rng.uniform(0, 2))
        cluster.add_node()
    else:
        cluster.kill("Painter" if what == "painter" else "Api")
    until(lambda: cluster.ready(painters=2), 120)
    seconds = time.monotonic() - began
    print(f"{what}: whole again after {seconds:.1f} s", file=sys.stderr, flush=True)
    return {
        "killed": what,
        "whole_again_after_s": round(seconds, 1),
        "accepted_meanwhile": len(load.accepted) - before,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
