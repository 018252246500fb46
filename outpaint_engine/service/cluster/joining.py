"""Joins or starts a Ray cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Without a terminal Ray's colours and its progress bars are noise.
import ray  # noqa: E402

from ...errors import OutpaintError  # noqa: E402

__all__ = ["joined"]

LOOPBACK = "127.0.0.1"
OBJECT_BYTES = 512 * 2**20
"""Of a cluster that is started here: the pictures on their way between its processes."""


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
