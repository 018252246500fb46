"""The service with the toy model as its own process, to be killed at a failpoint.

It gives leases of a second, so that what a dead process held is free soon.
"""

import socket
import time
from pathlib import Path
from typing import Any

from outpaint_engine.service.app import create_app
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.queue.files import Files
from outpaint_engine.service.queue.store import Store
from outpaint_engine.service.server import server_of
from outpaint_engine.shared import SharedPipeline

from ..conftest import toy_pipeline, toy_unet
from .failpoints import dying_at
from .small import SMALL

QUICK = {"lease_seconds": 1.0, "awaited_seconds": 0.9, "max_attempts": 5, "requests_per_minute": 10_000}


def main(database: str, folder: str, listening: socket.socket, failpoint: str, shared: bool) -> None:
    configuration = Configuration(**SMALL | QUICK | {"public_url": url_of(listening), "shared_store": shared})
    model = SharedPipeline(toy_pipeline(unet=slowly), configuration.workers)
    app = create_app(configuration, Store(database, passing=dying_at(failpoint)), Files(Path(folder)), model)
    server_of(app, configuration).run([listening])


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def slowly(**feeds: Any) -> Any:
    """A UNet that takes its time, and breaks on canvases of 128 pixels."""
    time.sleep(0.025)
    if feeds["sample"].shape[3] == 16:
        raise RuntimeError("a run that fails")
    return toy_unet(**feeds)
