"""Keeps the service on a Ray cluster until it is asked to stop."""

import logging
import signal
import threading

from ray import serve

from ...errors import OutpaintError
from .deployment import application
from .plan import Plan
from .remote import APP

__all__ = ["serve_until_stopped"]

log = logging.getLogger(__name__)


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
