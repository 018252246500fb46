"""Places where a test makes the process die, to prove that nothing is lost or charged twice there."""

import itertools
import os
import signal
from collections.abc import Callable
from typing import get_args

from outpaint_engine.service.queue.store import Transition

FAILPOINTS = (
    "picture:written",
    "result:written",
    *(f"{transition}:{moment}" for transition in get_args(Transition) for moment in ("uncommitted", "committed")),
)
"""Every point that a `Store` passes."""


def dying_at(failpoint: str) -> Callable[[str], None]:
    """Kills the process with SIGKILL at `publish:uncommitted`, or at the third pass with `publish:uncommitted@3`."""
    point, _, turn = failpoint.partition("@")
    passes = itertools.count(1)

    def passing(name: str) -> None:
        if name == point and next(passes) == int(turn or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    return passing
