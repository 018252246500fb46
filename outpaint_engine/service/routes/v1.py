"""Segmind's v1: the picture in the answer to the POST. The same job as v2's, with somebody waiting for it."""

import asyncio
import base64
import logging

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ..queue.ledger import MICROS, credits_text
from ..queue.tables import Job
from ..refusals import StillRunning, Unknown, failed_job
from .answers import ANSWERS, Credits, Picture, errors
from .caller import Caller, Running, Service, submitted
from .schema import Contract

__all__ = ["v1_routes"]

log = logging.getLogger("outpaint_engine.service")

GONE = 499
"""Nobody reads this answer: the client has hung up."""
HUNG_UP = (
    "A v1 client hung up after %.0f s, and its run was cancelled. Where pictures take longer than clients wait "
    "(Segmind's run_sync: 30 s), they need /v2, fewer steps or a smaller canvas."
)
LOOK_SECONDS = 1.0
HEADERS = {
    "x-request-id": "The request in v2's paths.",
    "x-seed-value": "The seed that was used.",
    "x-generation-time": "Seconds.",
    "x-cost": "Credits.",
    "x-remaining-credits": "Credits.",
}
PICTURE = {
    "model": Picture,
    "description": "The picture; in JSON where base64 was asked for.",
    "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {name: {"description": says, "schema": {"type": "string"}} for name, says in HEADERS.items()},
}


def v1_routes(model: str, contract: Contract) -> APIRouter:
    """`POST /v1/MODEL` and the credits."""
    routes = APIRouter(prefix="/v1", tags=["Outpainting"])

    @routes.post(
        f"/{model}",
        summary="Outpaint and wait for the picture",
        response_class=Response,
        responses={200: PICTURE, **ANSWERS},
        openapi_extra=contract.document,
    )
    async def outpaint(request: Request, service: Running, owner: Caller) -> Response:
        job, replayed = await submitted(request, service, owner, awaited=True)
        if replayed and not job.ended:
            raise StillRunning
        ended = job if job.ended else await _ended(request, service, job)
        return Response(status_code=GONE) if ended is None else await run_in_threadpool(_answer, service, ended)

    @routes.get("/get-user-credits", summary="Credits left", responses=errors(401, 500, 503))
    def credits(service: Running, owner: Caller) -> Credits:
        return Credits(credits=service.accounts.balance(owner) / MICROS)

    return routes


async def _ended(request: Request, service: Service, job: Job) -> Job | None:
    """Wait for the job; None where the client hung up, and the job was cancelled for it."""
    limits, now = service.configuration, asyncio.get_running_loop().time
    began = heard = now()
    with service.workers.bell.listening(job.id) as rung:
        hung_up = asyncio.create_task(_hung_up(request))
        try:
            while True:
                await _first(rung, hung_up, min(LOOK_SECONDS, limits.awaited_seconds / 3))
                found = await run_in_threadpool(service.jobs.find, job.owner, job.id)
                if found is None or found.ended:
                    return found
                if hung_up.done():
                    log.warning(HUNG_UP, now() - began)
                    sentence = "The client hung up. Nothing was charged."
                    await run_in_threadpool(service.jobs.cancel, job.owner, job.id, "cancelled", sentence)
                    return None
                if now() - began > limits.inline_seconds:
                    sentence = "The picture took too long. Nothing was charged."
                    return await run_in_threadpool(service.jobs.cancel, job.owner, job.id, "timeout", sentence)
                if now() - heard >= 0.9 * limits.awaited_seconds / 3:
                    heard = now()
                    await run_in_threadpool(service.jobs.keep_awaiting, job.id)
        finally:
            hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _first(rung: asyncio.Event, hung_up: asyncio.Task[None], seconds: float) -> None:
    """Wait for either, and for `seconds` at most: the job may end in another process."""
    ring = asyncio.create_task(rung.wait())
    await asyncio.wait({ring, hung_up}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    ring.cancel()
    rung.clear()


def _answer(service: Service, job: Job) -> Response:
    if job.state != "COMPLETED":
        refusal = failed_job(job.reason, job.error or "", service.configuration.retry_after)
        refusal.headers["x-request-id"] = job.id
        raise refusal
    content = service.files.read(job.result or "", ".jpg")
    if content is None:
        raise Unknown
    headers = {
        "x-remaining-credits": credits_text(job.remaining or 0),
        "x-request-id": job.id,
        "x-seed-value": str(job.seed),
        "x-generation-time": f"{job.inference or 0:.3f}",
        "x-cost": credits_text(job.price),
    }
    if job.base64:
        return JSONResponse({"image": base64.b64encode(content).decode()}, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)
