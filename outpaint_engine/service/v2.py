"""Segmind's v2: submit, poll, fetch; and, beyond it, cancel.

Reads are never limited or shed: the official client gives up at the first refusal.
"""

import base64
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from .answers import Refusal
from .configuration import MICROS
from .documents import CANCELLED, POST_ANSWERS, RESULT, STATUS, SUBMITTED, answer, body_document, errors
from .jobs import Job
from .parts import Parts, owner_of, submitted

__all__ = ["v2_routes"]

MEDIA = {".jpg": "image/jpeg", ".json": "application/json"}


def _read_answers(schema: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    failed = answer(schema, "The request FAILED; `error` says why.")
    return {200: answer(schema), 422: failed, **errors(401, 404, 500, 503)}


def v2_routes(parts: Parts) -> APIRouter:
    """Requests and their results."""
    routes = APIRouter(tags=["Outpainting"])

    async def status(identity: str, request: Request) -> JSONResponse:
        job = await _job(request, parts, identity)
        if request.query_params.get("preview") == "true" and job.state == "PROCESSING":
            await run_in_threadpool(parts.jobs.ask_preview, job.id)
        return _said(job, {**_facts(parts, job), "progress": _progress(job)})

    @routes.post(
        f"/v2/{parts.configuration.model}",
        summary="Queue an outpainting",
        responses={200: answer(SUBMITTED), **POST_ANSWERS},
        openapi_extra=body_document(parts.configuration),
    )
    async def submit(request: Request) -> JSONResponse:
        job = await submitted(request, parts, awaited=False)
        return JSONResponse({"request_id": job.id, "status": "QUEUED", **_urls(parts, job.id)})

    # Segmind's `poll_url` has the second path.
    for path in ("/v2/requests/{identity}/status", "/v1/requests/{identity}"):
        summary = "State and progress of a request"
        routes.get(path, summary=summary, responses=_read_answers(STATUS), openapi_extra=PREVIEW)(status)

    @routes.get("/v2/requests/{identity}", summary="The result of a request", responses=_read_answers(RESULT))
    async def result(identity: str, request: Request) -> JSONResponse:
        job = await _job(request, parts, identity)
        output = await run_in_threadpool(_output, parts, job)
        return _said(job, _facts(parts, job) | output)

    @routes.delete(
        "/v2/requests/{identity}",
        summary="Cancel a request",
        responses={200: answer(CANCELLED), **errors(401, 404, 409, 500, 503)},
    )
    async def cancel(identity: str, request: Request) -> JSONResponse:
        job = await _job(request, parts, identity)
        ended = await run_in_threadpool(parts.jobs.cancel, job.owner, job.id, "cancelled", "cancelled")
        if ended is None or ended.reason != "cancelled":
            raise Refusal(409, f"The request has ended already: {ended.state if ended else 'gone'}.", "ended")
        parts.workers.bell.ring(job.id)
        return JSONResponse(_facts(parts, ended))

    @routes.get(
        "/v2/results/{name}",
        summary="A picture or its quality report",
        response_class=Response,
        responses={
            200: {"description": "The file.", "content": {kind: {} for kind in MEDIA.values()}},
            **errors(401, 404, 500, 503),
        },
    )
    async def file(name: str, request: Request) -> Response:
        identity, dot, ending = name.partition(".")
        owner = None if _signed(request, parts) else await owner_of(request, parts)
        return await run_in_threadpool(_file, parts, identity, dot + ending, owner)

    return routes


PREVIEW = {
    "parameters": [
        {
            "name": "preview",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "enum": ["true", "false"]},
            "description": "Ask for a small picture of the run so far; it is in a later answer.",
        }
    ]
}


async def _job(request: Request, parts: Parts, identity: str) -> Job:
    """The caller's job; 404 for an unknown one and for another's alike."""
    owner = await owner_of(request, parts)
    job = await run_in_threadpool(parts.jobs.find, owner, identity)
    if job is None:
        raise _unknown()
    return job


def _unknown() -> Refusal:
    return Refusal(404, "There is no such request, or it is no longer kept.", "unknown")


def _said(job: Job, body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, 422 if job.state == "FAILED" else 200)


def _urls(parts: Parts, identity: str) -> dict[str, str]:
    return {
        "poll_url": parts.links.plain(f"/v1/requests/{identity}"),
        "status_url": parts.links.plain(f"/v2/requests/{identity}/status"),
        "response_url": parts.links.plain(f"/v2/requests/{identity}"),
    }


def _facts(parts: Parts, job: Job) -> dict[str, Any]:
    return {
        "status": job.state,
        "request_id": job.id,
        **_urls(parts, job.id),
        "error": job.error,
        "metrics": _metrics(job),
    }


def _metrics(job: Job) -> dict[str, float]:
    """Seconds and credits; nothing of credits for what was not charged."""
    times: dict[str, float | None] = {
        "inference_time": job.inference,
        "queue_time": job.started - job.created if job.started else None,
        "total_time": job.finished - job.created if job.finished else None,
        "retry_count": max(0, job.attempt - 1),
    }
    if job.state == "COMPLETED":
        times |= {"cost": job.price / MICROS, "remaining_credits": (job.remaining or 0) / MICROS}
    return {name: round(value, 6) for name, value in times.items() if value is not None}


def _progress(job: Job) -> dict[str, Any]:
    facts: dict[str, Any] = {"step": job.step, "steps": job.steps}
    if job.preview is not None:
        facts["preview"] = "data:image/jpeg;base64," + base64.b64encode(job.preview).decode()
    return facts


def _output(parts: Parts, job: Job) -> dict[str, Any]:
    if job.state != "COMPLETED":
        return {"output": None}
    output = parts.links.signed(f"/v2/results/{job.id}.jpg")
    if job.base64:
        output = base64.b64encode(parts.results.read(job.result or "", ".jpg") or b"").decode()
    return {"output": output, "quality_report": parts.links.signed(f"/v2/results/{job.id}.json"), "seed": job.seed}


def _signed(request: Request, parts: Parts) -> bool:
    query = request.query_params
    return parts.links.allows(request.url.path, query.get("expires", ""), query.get("signature", ""))


def _file(parts: Parts, identity: str, ending: str, owner: str | None) -> Response:
    """`owner` is None where a signature has shown that the link is ours."""
    name = parts.jobs.result_of(identity, owner)
    content = parts.results.read(name, ending) if name and ending in MEDIA else None
    if content is None:
        raise _unknown()
    return Response(content, media_type=MEDIA[ending])
