"""Segmind's v1: the picture in the answer to the POST. The same job as v2's, with somebody waiting for it."""

import base64

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ..queue.ledger import MICROS, credits_text
from ..queue.tables import Job
from ..refusals import StillRunning
from .answers import ANSWERS, Credits, Picture, errors
from .caller import Caller, Running, Service, submitted
from .schema import Contract
from .waiting import SAFETY, ended, nobody, picture_of, safety_header

__all__ = ["v1_routes"]

HEADERS = {
    "x-request-id": "The request in v2's paths.",
    "x-seed-value": "The seed that was used.",
    "x-generation-time": "Seconds.",
    SAFETY: "true or false, where the service looks: whether the safety checker flagged the picture.",
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
        done = await ended(request, service, [job])
        return nobody() if done is None else await run_in_threadpool(_answer, service, done[0])

    @routes.get("/get-user-credits", summary="Credits left", responses=errors(401, 500, 503))
    def credits(service: Running, owner: Caller) -> Credits:
        return Credits(credits=service.accounts.balance(owner) / MICROS)

    return routes


def _answer(service: Service, job: Job) -> Response:
    content = picture_of(service, job)
    headers = {
        "x-remaining-credits": credits_text(job.remaining or 0),
        "x-request-id": job.id,
        "x-seed-value": str(job.seed),
        "x-generation-time": f"{job.inference or 0:.3f}",
        "x-cost": credits_text(job.price),
        **safety_header(service, job.result),
    }
    if job.base64:
        return JSONResponse({"image": base64.b64encode(content).decode()}, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)
