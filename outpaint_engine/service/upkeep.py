"""Deletes what the service need not keep any longer, from time to time."""

import threading
import time

from .failures import record_failure
from .queue.leases import Leases

__all__ = ["delete_what_is_old"]

PRUNE_SECONDS, PRUNE_PAUSE, SWEEP_SECONDS = 60.0, 0.02, 600.0


def delete_what_is_old(leases: Leases, stopping: threading.Event) -> None:
    """Delete old jobs every minute, a few at a time, and files of none every ten; until it is to stop."""
    swept = -SWEEP_SECONDS
    while not stopping.is_set():
        try:
            while leases.prune() and not stopping.wait(PRUNE_PAUSE):
                pass
            if time.monotonic() > swept + SWEEP_SECONDS:
                swept = time.monotonic()
                leases.sweep()
        except Exception as error:
            record_failure(error, "pruning")
        stopping.wait(PRUNE_SECONDS)
