"""A Ray cluster in this machine, a head and nodes, with the toy service on it; and what may befall it."""

import gc
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray's processes are the last to get a core of a machine that does something else too.
    "RAY_worker_niceness": "0",
    # Else painters and Api are spread over as many threads as there are cores, each.
    "OMP_NUM_THREADS": "1",
}

import httpx2
import ray
from ray import serve
from ray.cluster_utils import Cluster

from outpaint_engine.service.cluster.deployment import application
from outpaint_engine.service.cluster.plan import Plan, Replicas
from outpaint_engine.service.cluster.remote import APP
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue.accounts import Accounts
from outpaint_engine.service.queue.store import Store

from ..queue.test_crashes import GRANTED
from ..running import until
from ..small import SMALL
from .toys import Toy

OBJECT_BYTES = 80 * 2**20
QUICK = {"requests_per_minute": 100_000, "account_queued": 1000, "max_queued": 1000, "lease_seconds": 10.0}


@dataclass
class Running:
    """The service on a cluster, with an account that has credits."""

    url: str
    folder: Path
    database: str
    nodes: Cluster
    extra: list[Any] = field(default_factory=list)
    key: str = ""

    def client(self, seconds: float = 30) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=seconds, headers={"x-api-key": self.key})

    def replicas(self, deployment: str) -> list[dict[str, Any]]:
        """What Serve knows of the replicas that run and are alive: `pid`, `node_id` and more."""
        details = serve.context._get_global_client().get_serve_details()
        found: list[dict[str, Any]] = details["applications"][APP]["deployments"][deployment]["replicas"]
        # Serve learns of a death a little later.
        return [each for each in found if each["state"] == "RUNNING" and Path(f"/proc/{each['pid']}").exists()]

    def kill(self, deployment: str) -> int:
        """Kill one replica, the one that has run for longest; returns its process."""
        pid: int = min(self.replicas(deployment), key=lambda each: each["start_time_s"])["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def remove_node(self) -> None:
        """Take a node away, the oldest beside the head, without a word to it."""
        self.nodes.remove_node(self.extra.pop(0), allow_graceful=False)

    def add_node(self) -> None:
        self.extra.append(self.nodes.add_node(num_cpus=1, object_store_memory=OBJECT_BYTES))

    def ready(self, painters: int) -> bool:
        """Whether it answers and so many painters run."""
        try:
            with self.client(5) as client:
                ready = client.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False
        return ready and len(self.replicas("Painter")) >= painters


@contextmanager
def running(
    folder: Path,
    *,
    nodes: int = 2,
    painters: str = "2",
    seconds: float = 0.05,
    database: str = "",
    granted: int = GRANTED,
    **changes: Any,
) -> Iterator[Running]:
    """The toy service on a head without cores and nodes of one core each, a painter a core, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    url, database = f"http://127.0.0.1:{port}", database or f"sqlite:///{folder}/store.db"
    configuration = Configuration(**SMALL | QUICK | {"public_url": url} | changes)
    toy = Toy(folder, seconds, configuration.workers)
    plan = Plan(toy.load, configuration, database, str(folder / "results"), port=port, replicas=Replicas.read(painters))
    cluster = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": OBJECT_BYTES})
    served = Running(url, folder, database, cluster)
    with closing(Store(database)) as store:
        served.key = Accounts(store).create_key("tester", granted)
    try:
        for _ in range(nodes):
            served.add_node()
        ray.init(address=cluster.address, log_to_driver=False)
        serve.start(proxy_location="Disabled")
        serve.run(application(plan), name=APP, route_prefix=None, blocking=False)
        until(lambda: served.ready(plan.replicas.least), 60)
        yield served
        serve.shutdown()
    finally:
        # A handle that is forgotten after Ray has gone ends the process.
        gc.collect()
        ray.shutdown()
        cluster.shutdown()
