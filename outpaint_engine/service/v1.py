"""Segmind's v1: the picture in the answer to the POST. The same job as v2's, with somebody waiting for it."""

import asyncio
import base64
import logging
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from .answers import Refusal
from .configuration import MICROS, credits_text
from .documents import CREDITS, PICTURE, POST_ANSWERS, answer, body_document, errors
from .jobs import Job
from .parts import Parts, owner_of, submitted

__all__ = ["v1_routes"]

log = logging.getLogger("outpaint_engine.service")

GONE = 499
"""Nobody reads this answer: the client has hung up."""
HUNG_UP = (
    "A v1 client hung up after %.0f s, and its run was cancelled. Where pictures take longer than clients wait "
    "(Segmind's run_sync: 30 s), they need /v2, fewer steps or a smaller canvas."
)
LOOK_SECONDS = 1.0
DISCONNECT_SECONDS = 0.1


def v1_routes(parts: Parts) -> APIRouter:
    """`POST /v1/MODEL` and the credits."""
    routes = APIRouter(prefix="/v1", tags=["Outpainting"])

    @routes.post(
        f"/{parts.configuration.model}",
        summary="Outpaint and wait for the picture",
        response_class=Response,
        responses={200: PICTURE, **POST_ANSWERS},
        openapi_extra=body_document(parts.configuration),
    )
    async def outpaint(request: Request) -> Response:
        job = await submitted(request, parts, awaited=True)
        if job.replayed and not job.ended:
            raise Refusal(409, "The request with this Idempotency-Key is still running.", "idempotency")
        ended = job if job.ended else await _ended(request, parts, job)
        return Response(status_code=GONE) if ended is None else await run_in_threadpool(_answer, parts, ended)

    @routes.get(
        "/get-user-credits",
        summary="Credits left",
        responses={200: answer(CREDITS), **errors(401, 500, 503)},
    )
    async def credits(request: Request) -> JSONResponse:
        owner = await owner_of(request, parts)
        return JSONResponse({"credits": await run_in_threadpool(parts.accounts.balance, owner) / MICROS})

    return routes


async def _ended(request: Request, parts: Parts, job: Job) -> Job | None:
    """Wait for the job; None where the client hung up, and the job was cancelled for it.

    Raises:
        Refusal: 503, the job took too long and was cancelled.
    """
    now = asyncio.get_running_loop().time
    began = looked = heard = now()
    with parts.workers.bell.listening(job.id) as rung:
        while True:
            if rung.is_set() or now() - looked > LOOK_SECONDS:
                looked = now()
                rung.clear()
                found = await run_in_threadpool(parts.jobs.find, job.owner, job.id)
                if found is None or found.ended:
                    return found
            if await request.is_disconnected():
                log.warning(HUNG_UP, now() - began)
                sentence = "The client hung up. Nothing was charged."
                await run_in_threadpool(parts.jobs.cancel, job.owner, job.id, "cancelled", sentence)
                return None
            if now() - began > parts.configuration.inline_seconds:
                sentence = "The picture took too long. Nothing was charged."
                return await run_in_threadpool(parts.jobs.cancel, job.owner, job.id, "timeout", sentence)
            if now() - heard > parts.configuration.awaited_seconds / 3:
                heard = now()
                await run_in_threadpool(parts.jobs.keep_awaiting, job.id)
            await _wait(rung)


async def _wait(rung: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(DISCONNECT_SECONDS):
            await rung.wait()
    except TimeoutError:
        pass


def _answer(parts: Parts, job: Job) -> Response:
    headers = _headers(job)
    if job.state == "COMPLETED":
        content = parts.results.read(job.result or "", ".jpg")
        if content is None:
            raise Refusal(404, "This result is no longer kept.", "unknown")
        if job.base64:
            return JSONResponse({"image": base64.b64encode(content).decode()}, headers=headers)
        return Response(content, media_type="image/jpeg", headers=headers)
    sentence = job.error or ""
    status = {"input": 406, "cancelled": 409, "timeout": 503}.get(job.reason or "", 500)
    wait = parts.configuration.retry_after if status == 503 else None
    answer = Refusal(status, sentence, job.reason or "internal", wait).answer()
    answer.headers["x-request-id"] = job.id
    return answer


def _headers(job: Job) -> Mapping[str, str]:
    return {
        "x-remaining-credits": credits_text(job.remaining or 0),
        "x-request-id": job.id,
        "x-seed-value": str(job.seed),
        "x-generation-time": f"{job.inference or 0:.3f}",
        "x-cost": credits_text(job.price),
    }
