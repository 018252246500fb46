"""Stability's `POST /v2beta/stable-image/edit/outpaint`: pixels added to a picture's sides, at its own size.

Source of fields, headers and answers: Stability's API reference, "Outpaint".
"""

import base64
import secrets
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ..configuration import Configuration
from ..pictures.decoding import Decoded
from ..pictures.intake import checked_picture
from ..queue.orders import Order
from ..queue.tables import Job
from ..refusals import Refusal, StillRunning
from .caller import Door, ForeignCaller, Running, Sent, Service, all_submitted
from .fields import checked, refused
from .foreign import Foreign
from .form import form_document, read_form
from .placing import Sides, extended, settings
from .schema import Asked
from .waiting import ended, nobody, picture_of, safety_header

__all__ = ["STABILITY", "stability_routes"]

MAX_ADDED = 2000
KINDS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
NAMES = {400: "bad_request", 401: "unauthorized", 402: "payment_required", 404: "not_found", 429: "rate_limit_exceeded"}
LEAST_STRENGTH = 0.8
"""What `creativity` 0 is; at 1 the strength is 1, and nothing of what the sides are filled with first remains."""


class Refused(BaseModel):
    """Every refusal."""

    id: str
    name: str
    errors: list[str]


class Painted(BaseModel):
    """The picture, where JSON was asked for."""

    image: str
    finish_reason: str
    seed: int


def _said(status: int, refusal: Refusal) -> dict[str, Any]:
    return {"id": secrets.token_hex(16), "name": NAMES.get(status, refusal.label), "errors": [refusal.sentence]}


STABILITY = Foreign("/v2beta", Refused, _said)


def _fields_model(limits: Configuration) -> type[BaseModel]:
    pixels = Annotated[int, Field(ge=0, le=MAX_ADDED)]

    class Fields(BaseModel):
        model_config = ConfigDict(extra="forbid")
        left: pixels = 0
        right: pixels = 0
        up: pixels = 0
        down: pixels = 0
        prompt: Annotated[str, Field(max_length=limits.max_prompt)] = ""
        creativity: Annotated[float, Field(ge=0, le=1)] = 0.5
        seed: Annotated[int, Field(ge=0, le=4_294_967_294)] = 0
        output_format: Literal["png", "jpeg", "webp"] = "png"

    return Fields


def stability_routes(limits: Configuration) -> APIRouter:
    """The one route of Stability's that an outpainter can answer."""
    routes = APIRouter(tags=["Stability"])
    fields = _fields_model(limits)
    door = Door("multipart/form-data", partial(_read, fields, limits))
    binary = {"schema": {"type": "string", "format": "binary"}}
    picture = {
        "model": Painted,
        "description": "The picture; in JSON where Accept asks for that.",
        "content": {kind: binary for kind in KINDS.values()},
    }

    @routes.post(
        "/v2beta/stable-image/edit/outpaint",
        summary="Add pixels to a picture's sides",
        response_class=Response,
        responses={200: picture, **STABILITY.answers()},
        openapi_extra=form_document(fields, "image"),
    )
    async def outpaint(request: Request, service: Running, owner: ForeignCaller) -> Response:
        wants_json = _wants_json(request.headers.get("accept", "*/*"))
        _, ((job, replayed),) = await all_submitted(request, service, owner, door, awaited=True)
        if replayed and not job.ended:
            raise StillRunning
        done = await ended(request, service, [job])
        return nobody() if done is None else await run_in_threadpool(_answer, service, done[0], wants_json)

    return routes


def _wants_json(accept: str) -> bool:
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    if kinds & {"image/*", "*/*"}:
        return False
    if "application/json" in kinds:
        return True
    raise refused("accept", f"must be image/* or application/json, not {accept[:40]!r}.")


def _read(model: type[BaseModel], limits: Configuration, sent: Sent) -> Asked:
    form = read_form(sent)
    sent_as = form.pictures("image")
    fields: Any = checked(model, form.fields)
    sides = Sides(fields.left, fields.right, fields.up, fields.down)
    if not any(sides):
        raise refused("left, right, up and down", "are all 0: one of them must be more.")
    picture = checked_picture(sent_as["image"], limits)
    strength = LEAST_STRENGTH + (1 - LEAST_STRENGTH) * fields.creativity
    chosen = settings(limits, prompt=fields.prompt, strength=strength, seed=fields.seed or -1)
    suffix = "jpg" if fields.output_format == "jpeg" else fields.output_format
    order = Order(picture.content, chosen, base64=False, format=suffix, door="stability")

    def place(order: Order, picture: Decoded) -> Order:
        return extended(order, picture, sides, limits)

    return Asked(order, form.fingerprint, place=place)


def _answer(service: Service, job: Job, wants_json: bool) -> Response:
    content = picture_of(service, job)
    headers = {"x-request-id": job.id, "finish-reason": "SUCCESS", "seed": str(job.seed)}
    headers |= safety_header(service, job.result)
    if wants_json:
        said = {"image": base64.b64encode(content).decode(), "finish_reason": "SUCCESS", "seed": job.seed}
        return JSONResponse(said, headers=headers)
    return Response(content, media_type=KINDS[job.format], headers=headers)
