"""A painter of the cluster: one loaded model, and a thread for each job that it was handed."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ...errors import EngineError, ImageError, RequestError, SafetyError
from ..failures import record_failure
from ..painting import Painted, painter_of, thumbnail
from .plan import Plan
from .said import Made, Refused, Said

__all__ = ["ClusterPainter"]

TELL_SECONDS = 0.25
"""Steps that are shorter are told together, so that many painters do not keep the Api busy with them."""
LOOK_SECONDS = 1.0
HUNG = "The engine did not answer within {:g} seconds. Nothing was charged."


class _Run:
    """One job on this painter; `since` is the monotonic time of its last sign of life, None once its thread ended."""

    def __init__(self) -> None:
        self.since: float | None = time.monotonic()
        self.ended = threading.Event()
        self.preview_asked = threading.Event()
        self.loop, self.told = asyncio.get_running_loop(), asyncio.Queue[Said | None]()

    def tell(self, said: Said | None) -> None:
        """From the run's thread."""
        with contextlib.suppress(RuntimeError):
            # The loop is closed where the painter is being stopped: nobody listens any more.
            self.loop.call_soon_threadsafe(self.told.put_nowait, said)


class ClusterPainter:
    """Loads the model, tries it, and paints. Ray makes as many as it is told, and a new one for one that dies."""

    def __init__(self, plan: Plan) -> None:
        configuration = plan.configuration
        self._seconds = configuration.lease_seconds
        self._model = plan.load()
        # A run that was cancelled still has its place until its step ends.
        self._painter = painter_of(configuration, self._model, standing_still=configuration.workers)
        self._side = configuration.canvas_sides[0]
        self._painter.warm_up(self._side)
        self._runs: dict[str, _Run] = {}

    async def paint(self, name: str, picture: bytes, fields: Mapping[str, Any], suffix: str) -> AsyncIterator[Said]:
        """Paint a job under a name that no other attempt has; stop iterating to end it with the step under way."""
        run = self._runs[name] = _Run()
        threading.Thread(target=self._work, args=(name, run, picture, fields, suffix), daemon=True).start()
        try:
            while True:
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        said = await run.told.get()
                except TimeoutError:
                    said = Refused("internal", HUNG.format(self._seconds)) if self._hangs(run) else None
                    if said is None:
                        continue
                if said is None:
                    return
                yield said
                if not isinstance(said, Made):
                    return
        finally:
            run.ended.set()

    async def show(self, name: str) -> None:
        """Send a preview of this job with its next step, if it is here."""
        run = self._runs.get(name)
        if run is not None:
            run.preview_asked.set()

    async def end_others(self, server: str) -> None:
        """End every run whose name does not begin with this server's: whoever asked for it is gone."""
        for name, run in list(self._runs.items()):
            if not name.startswith(server):
                run.ended.set()
                run.told.put_nowait(None)

    def warm_up(self) -> None:
        """Run one step on grey."""
        self._painter.warm_up(self._side)

    def check_health(self) -> None:
        """Raise where a step does not end: then only another process helps."""
        if any(self._hangs(run) for run in list(self._runs.values())):
            raise EngineError(HUNG.format(self._seconds))

    def _hangs(self, run: _Run) -> bool:
        since = run.since
        return since is not None and time.monotonic() - since > self._seconds

    def _work(self, name: str, run: _Run, picture: bytes, fields: Mapping[str, Any], suffix: str) -> None:
        try:
            run.tell(self._painted(run, picture, fields, suffix))
        except (RequestError, ImageError) as error:
            run.tell(Refused("input", str(error)))
        except SafetyError as error:
            run.tell(Refused("safety", str(error)))
        except Exception as error:
            run.tell(Refused("internal", f"Internal error {record_failure(error, 'a run')}."))
        finally:
            run.since = None
            self._runs.pop(name, None)

    def _painted(self, run: _Run, picture: bytes, fields: Mapping[str, Any], suffix: str) -> Painted | None:
        told_at = 0.0
        with contextlib.closing(self._painter.paint(picture, fields, suffix)) as steps:
            while True:
                try:
                    progress = next(steps)
                except StopIteration as end:
                    painted: Painted = end.value
                    return painted
                run.since = now = time.monotonic()
                if run.ended.is_set():
                    return None
                wanted = run.preview_asked.is_set()
                if wanted or now - told_at > TELL_SECONDS:
                    told_at = now
                    run.preview_asked.clear()
                    run.tell(Made(progress.step, progress.steps, thumbnail(progress) if wanted else None))
