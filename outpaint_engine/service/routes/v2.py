"""Segmind's v2: submit, poll, fetch; and, beyond it, cancel.

Reads are never limited or shed: the official client gives up at the first refusal.
"""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from ..queue.ledger import MICROS
from ..queue.tables import Job
from ..refusals import HasEnded, Unknown
from .answers import ANSWERS, Facts, Metrics, Progress, Result, Status, Submitted, errors
from .caller import ID, KEY, Caller, Found, Running, Service, owner_of, submitted
from .events import EVENTS, stream, told
from .schema import Contract
from .waiting import safety_header

__all__ = ["v2_routes"]

MEDIA = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".json": "application/json"}
STREAM = "An event `status` for each change, with what the status has; the last when the request has ended."
PREVIEWS = "With small pictures of the run so far."
PREVIEW = "Ask for a small picture of the run so far; it is in a later answer."


def _read_answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    failed = {"model": model, "description": "The request FAILED; `error` says why."}
    return {200: {"model": model}, 422: failed, **errors(401, 404, 500, 503)}


def v2_routes(model: str, contract: Contract) -> APIRouter:
    """Requests and their results."""
    routes = APIRouter(tags=["Outpainting"])

    @routes.post(
        f"/v2/{model}",
        summary="Queue an outpainting",
        responses=ANSWERS,
        openapi_extra=contract.document,
    )
    async def submit(request: Request, service: Running, owner: Caller) -> Submitted:
        job, replayed = await submitted(request, service, owner, awaited=False)
        return Submitted(request_id=job.id, status=_state(job, replayed), **_urls(service, job.id))

    # Segmind's `poll_url` has the second path.
    @routes.get("/v2/requests/{identity}/status", summary="State and progress", responses=_read_answers(Status))
    @routes.get("/v1/requests/{identity}", summary="State and progress", responses=_read_answers(Status))
    def status(service: Running, job: Found, preview: Annotated[str, Query(description=PREVIEW)] = "false") -> Response:
        if preview == "true" and job.state == "PROCESSING":
            service.jobs.ask_preview(job.id)
        return _said(job, _status(service, job))

    @routes.get(
        "/v2/requests/{identity}/events",
        summary="State and progress as they change, as server-sent events",
        response_class=Response,
        responses={200: {"description": STREAM, "content": EVENTS}, **errors(401, 404, 500, 503)},
    )
    def events(
        service: Running, job: Found, preview: Annotated[str, Query(description=PREVIEWS)] = "false"
    ) -> Response:
        def said(job: Job) -> dict[str, Any]:
            return _status(service, job).model_dump(exclude_unset=True)

        return stream(told(service, job, said, preview=preview == "true"))

    @routes.get("/v2/requests/{identity}", summary="The result of a request", responses=_read_answers(Result))
    def result(service: Running, job: Found) -> Response:
        return _said(job, Result(**_facts(service, job), **_output(service, job)))

    @routes.delete("/v2/requests/{identity}", summary="Cancel a request", responses=errors(401, 404, 409, 500, 503))
    def cancel(service: Running, job: Found) -> Facts:
        ended = service.jobs.cancel(job.owner, job.id, "cancelled", "cancelled")
        if ended is None or ended.reason != "cancelled":
            raise HasEnded(state=ended.state if ended else "gone")
        service.workers.bell.ring(job.id)
        return Facts(**_facts(service, ended))

    _add_files(routes)
    return routes


def _add_files(routes: APIRouter) -> None:
    @routes.get(
        "/v2/results/{name}",
        summary="A picture or its quality report",
        response_class=Response,
        responses={
            200: {"description": "The file.", "content": {kind: {} for kind in MEDIA.values()}},
            **errors(401, 404, 500, 503),
        },
    )
    def file(request: Request, service: Running, name: str, key: Annotated[str | None, Security(KEY)]) -> Response:
        identity, dot, ending = name.partition(".")
        owner = None if _signed(request, service) else owner_of(service, key)
        return _file(service, identity, dot + ending, owner)


def _state(job: Job, replayed: bool) -> Any:
    """A repeated request is told how its first one stands; a new one is taken, whatever becomes of it."""
    return job.state if replayed else "QUEUED"


def _said(job: Job, body: BaseModel) -> JSONResponse:
    return JSONResponse(body.model_dump(exclude_unset=True), 422 if job.state == "FAILED" else 200)


def _status(service: Service, job: Job) -> Status:
    return Status(**_facts(service, job), progress=_progress(job))


def _urls(service: Service, identity: str) -> dict[str, str]:
    return {
        "poll_url": service.links.plain(f"/v1/requests/{identity}"),
        "status_url": service.links.plain(f"/v2/requests/{identity}/status"),
        "response_url": service.links.plain(f"/v2/requests/{identity}"),
    }


def _facts(service: Service, job: Job) -> dict[str, Any]:
    facts = {"status": job.state, "request_id": job.id, "error": job.error, "metrics": _metrics(job)}
    return facts | _urls(service, job.id)


def _metrics(job: Job) -> Metrics:
    """Seconds and credits; nothing of credits for what was not charged."""
    known: dict[str, float | None] = {
        "inference_time": job.inference,
        "queue_time": max(0.0, job.started - job.created) if job.started else None,
        "total_time": max(0.0, job.finished - job.created) if job.finished else None,
        "retry_count": max(0, job.attempt - 1),
    }
    if job.state == "COMPLETED":
        known |= {"cost": job.price / MICROS, "remaining_credits": (job.remaining or 0) / MICROS}
    return Metrics(**{name: round(value, 6) for name, value in known.items() if value is not None})


def _progress(job: Job) -> Progress:
    progress = Progress(step=job.step, steps=job.steps)
    if job.preview is not None:
        progress.preview = "data:image/jpeg;base64," + base64.b64encode(job.preview).decode()
    return progress


def _output(service: Service, job: Job) -> dict[str, Any]:
    if job.state != "COMPLETED":
        return {"output": None}
    output = service.links.signed(f"/v2/results/{job.id}.{job.format}")
    if job.base64:
        output = base64.b64encode(service.files.read(job.result or "", f".{job.format}") or b"").decode()
    report = service.links.signed(f"/v2/results/{job.id}.json")
    found = service.files.flagged(job.result or "") if service.configuration.safety != "off" else None
    said = {"output": output, "quality_report": report, "seed": job.seed}
    return said if found is None else {**said, "safety_flagged": found}


def _signed(request: Request, service: Service) -> bool:
    query = request.query_params
    return service.links.allows(request.url.path, query.get("expires", ""), query.get("signature", ""))


def _file(service: Service, identity: str, ending: str, owner: str | None) -> Response:
    """`owner` is None where a signature has shown that the link is ours."""
    name = service.jobs.result_of(identity, owner) if ID.fullmatch(identity) else None
    content = service.files.read(name, ending) if name and ending in MEDIA else None
    if content is None:
        raise Unknown
    return Response(content, media_type=MEDIA[ending], headers=safety_header(service, name))
