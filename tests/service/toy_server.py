"""The service with the toy model as its own process, to be killed at a failpoint.

It gives leases of a second, so that what a dead process held is free soon.
"""

import os
import time
from pathlib import Path
from typing import Any

import uvicorn

from outpaint_engine.service.app import create_app
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.failpoints import VARIABLE
from outpaint_engine.service.results import Results
from outpaint_engine.service.store import Store

from ..conftest import toy_pipeline, toy_unet
from .small import SMALL

QUICK = {"lease_seconds": 1.0, "awaited_seconds": 0.9, "max_attempts": 5, "requests_per_minute": 10_000}


def main(database: str, folder: str, port: int, failpoint: str) -> None:
    if failpoint:
        os.environ[VARIABLE] = failpoint
    configuration = Configuration(**SMALL | QUICK | {"public_url": f"http://127.0.0.1:{port}"})
    app = create_app(configuration, Store(database), Results(Path(folder)), toy_pipeline(unet=slowly))
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


def slowly(**feeds: Any) -> Any:
    time.sleep(0.01)
    return toy_unet(**feeds)
