"""The Api's side of the painters: jobs are handed to a Ray Serve handle, which finds a painter with a free place."""

import asyncio
import concurrent.futures
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from ..failures import record_failure
from ..painters import PainterLost, Step
from ..painting import Painted
from .said import Made, Refused

__all__ = ["APP", "PAINTER", "RemotePainters"]

APP, PAINTER = "outpaint", "Painter"
COUNT_SECONDS = 1.0
CONTROL_SECONDS = 5.0
PREVIEW_SECONDS = 0.5
LOST = "The painter of this job is gone: {}."
GONE = (RayError, RayServeException, asyncio.CancelledError, concurrent.futures.CancelledError)
"""What a handle raises where a replica has died, a machine is gone, or a call has ended."""


class RemotePainters:
    """Painters on other processes and machines, `each` jobs at one time in each."""

    elsewhere = True

    def __init__(self, handle: DeploymentHandle, each: int) -> None:
        self._handle, self._each, self._running = handle, each, 0
        self._server, self._numbers = secrets.token_hex(4), itertools.count()
        threading.Thread(target=self._count, daemon=True).start()

    def places(self) -> int:
        """Those of the painters that run."""
        return self._running * self._each

    def paint(self, picture: bytes, fields: Mapping[str, Any], suffix: str) -> "RemotePainting":
        """Begin wherever there is room first."""
        name = f"{self._server}-{next(self._numbers)}"
        said = self._handle.options(method_name="paint", stream=True).remote(name, picture, dict(fields), suffix)
        return RemotePainting(said, lambda: self._control("show", name))

    def warm_up(self, side: int) -> None:
        """Let one of them do so, at the size that it begins with; its error is raised here."""
        self._handle.warm_up.remote().result()

    def _control(self, method: str, *arguments: Any) -> None:
        """Tell every painter something; whoever does not hear it is gone."""
        try:
            self._handle.broadcast(method, *arguments).results(timeout_s=CONTROL_SECONDS, return_exceptions=True)
        except (*GONE, TimeoutError) as error:
            record_failure(error, f"telling the painters to {method}")

    def _count(self) -> None:
        counts = True
        while True:
            try:
                running = _replicas_that_run()
                if running != self._running:
                    # What the Api before this one had painted, nobody waits for.
                    self._control("end_others", self._server)
                self._running, counts = running, True
            except Exception as error:
                # Whoever knows them is being restarted: the last count stands.
                if counts:
                    record_failure(error, "counting the painters")
                counts = False
            time.sleep(COUNT_SECONDS)


def _replicas_that_run() -> int:
    application = serve.status().applications.get(APP)
    painter = application.deployments.get(PAINTER) if application else None
    return int(painter.replica_states.get("RUNNING", 0)) if painter else 0


class RemotePainting:
    """One job at a painter elsewhere."""

    def __init__(self, said: Any, show: Callable[[], None]) -> None:
        self._said, self._show = said, show
        self._cancelled, self._asked_at = False, 0.0
        self._preview: bytes | None = None
        self.painted: Painted | None = None

    def __iter__(self) -> Iterator[Step]:
        """The steps as they are told, several together where they are short.

        Raises:
            PainterLost: whoever painted it is gone.
            OutpaintError: what `Painter.paint` raises.
        """
        try:
            for said in self._said:
                if isinstance(said, Refused):
                    raise said.error()
                if isinstance(said, Painted):
                    self.painted = said
                    return
                assert isinstance(said, Made)
                self._preview = said.preview or self._preview
                yield Step(said.step, said.steps)
        except GONE as error:
            if not self._cancelled:
                raise PainterLost(LOST.format(type(error).__name__)) from error
            return
        if not self._cancelled:
            raise PainterLost(LOST.format("its run was ended there"))

    def preview(self) -> bytes | None:
        """The one that has come since the last; otherwise one is asked for."""
        preview, self._preview = self._preview, None
        if preview is None and time.monotonic() - self._asked_at > PREVIEW_SECONDS:
            self._asked_at = time.monotonic()
            self._show()
        return preview

    def cancel(self) -> None:
        """End it with the step that is under way, or before it has begun; from any thread."""
        self._cancelled = True
        with suppress(*GONE):
            self._said.cancel()

    def close(self) -> None:
        """Leave it, which ends it too if it has not."""
        if self.painted is None:
            self.cancel()
