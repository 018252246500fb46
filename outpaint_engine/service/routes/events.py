"""Server-sent events (WHATWG HTML, 9.2): how a request stands, told when it changes instead of when asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from ..queue.tables import Job
from .caller import Service

__all__ = ["EVENTS", "event", "stream", "told"]

TEXT = {"type": "string"}
EVENT = {"type": "object", "properties": {"event": TEXT, "data": TEXT}, "required": ["event", "data"]}
EVENTS: dict[str, Any] = {"text/event-stream": {"schema": EVENT}}
"""The content of such an answer in an OpenAPI document, by its events; `data` is JSON."""
LOOK_SECONDS, PREVIEW_SECONDS, SILENCE_SECONDS = 1.0, 1.0, 15.0
"""How often the store is asked for what happens in another process, and a preview is asked for; how long a proxy hears
nothing."""


def event(name: str, data: Any) -> bytes:
    """One event; `data` becomes JSON."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """The answer; proxies are asked to pass each event on at once."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def told(
    service: Service, job: Job, said: Callable[[Job], dict[str, Any]], *, preview: bool
) -> AsyncIterator[bytes]:
    """An event `status` for each change of what is `said` of a job, the last of them when it has ended.

    With `preview` the job is asked for one once a second.
    """
    before, told_at, asked_at = None, 0.0, 0.0
    now = asyncio.get_running_loop().time
    with service.workers.bell.listening(job.id, for_steps=True) as rung:
        while True:
            found = await run_in_threadpool(service.jobs.find, job.owner, job.id)
            if found is None:
                return
            what = await run_in_threadpool(said, found)
            if what != before:
                before, told_at = what, now()
                yield event("status", what)
            elif now() - told_at > SILENCE_SECONDS:
                told_at = now()
                yield b": still here\n\n"
            if found.ended:
                return
            if preview and found.state == "PROCESSING" and now() - asked_at > PREVIEW_SECONDS:
                asked_at = now()
                await run_in_threadpool(service.jobs.ask_preview, job.id)
            rung.clear()
            await _rung(rung)


async def _rung(rung: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await rung.wait()
    except TimeoutError:
        pass
