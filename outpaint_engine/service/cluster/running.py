"""Joins or starts a Ray cluster, and keeps the service on it until it is asked to stop."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Without a terminal Ray's colours and its progress bars are noise.
import ray  # noqa: E402
from ray import serve  # noqa: E402

from ...errors import OutpaintError  # noqa: E402
from .deployment import application  # noqa: E402
from .plan import Plan  # noqa: E402
from .remote import APP  # noqa: E402

__all__ = ["joined", "serve_until_stopped"]

LOOPBACK = "127.0.0.1"
OBJECT_BYTES = 512 * 2**20
"""Of a cluster that is started here: the pictures on their way between its processes."""
log = logging.getLogger(__name__)


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be part of the cluster at an address; "auto" is the one of this machine, which is started where there is none.

    Raises:
        OutpaintError: no cluster answers there.
    """
    try:
        ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError) as error:
        if address != "auto":
            raise OutpaintError(
                f"No Ray cluster answers at {address}: {error}. Start one: ray start --head."
            ) from error
        _start()
    try:
        yield
    finally:
        ray.shutdown()


def _start() -> None:
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=OBJECT_BYTES,
        logging_level=logging.WARNING,
        _node_ip_address=LOOPBACK,
    )


def serve_until_stopped(plan: Plan, url: str) -> None:
    """Put the service on the cluster until Ctrl-C or SIGTERM; other applications of Ray Serve there stay as they are.

    Raises:
        OutpaintError: the service runs there already, or a part of it does not start.
    """
    if APP in serve.status().applications:
        raise OutpaintError(f"{APP} is served on this cluster already. End that first: serve shutdown -y.")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    alone = not serve.status().applications
    if alone:
        serve.start(proxy_location="Disabled")
    try:
        serve.run(application(plan), name=APP, route_prefix=None, blocking=False)
        log.info("Serving on %s (Ctrl-C stops it)", url)
        stopped.wait()
    except RuntimeError as error:
        raise OutpaintError(f"The service did not start on the cluster: {error} {_why()}") from error
    finally:
        serve.shutdown() if alone else serve.delete(APP)


def _why() -> str:
    """What Serve knows of the parts that are not as they should be: the last line of each, which is the error."""
    application = serve.status().applications.get(APP)
    parts = application.deployments.items() if application else ()
    said = {name: part.message.strip().splitlines() for name, part in parts if part.message}
    return " ".join(f"{name}: {lines[-1]}" for name, lines in said.items())
