"""Places where a test makes the process die, to prove that nothing is lost or charged twice there.

`OUTPAINT_FAILPOINT=publish:uncommitted` kills the process with SIGKILL when it passes that point;
`publish:uncommitted@3` when it passes for the third time.
"""

import itertools
import os
import signal
from collections import defaultdict
from collections.abc import Iterator

__all__ = ["FAILPOINTS", "VARIABLE", "failpoint"]

VARIABLE = "OUTPAINT_FAILPOINT"
TRANSITIONS = ("submit", "claim", "beat", "await", "publish", "fail", "cancel", "give_back", "prune", "grant")
FAILPOINTS = (
    "picture:written",
    "result:written",
    *(f"{transition}:{moment}" for transition in TRANSITIONS for moment in ("uncommitted", "committed")),
)
"""Every one there is; `Store.transition` takes no name outside `TRANSITIONS`."""

_passed: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, turn = wanted.partition("@")
    if point == name and next(_passed[name]) == int(turn or 1):
        os.kill(os.getpid(), signal.SIGKILL)
