"""OpenAI's `POST /v1/images/edits`: the parts of a picture that its mask, or it itself, has transparent are painted.

Source of fields, answers and events: OpenAI's API reference, "Create image edit", and the types of its Python client.
"""

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ...images import header
from ..configuration import Configuration
from ..pictures.decoding import Decoded, Mask
from ..pictures.intake import checked_picture
from ..queue.orders import Order
from ..queue.tables import Job
from ..refusals import Refusal, StillRunning
from .caller import Door, ForeignCaller, Running, Sent, Service, all_submitted
from .events import EVENTS, event, stream
from .fields import checked, refused
from .foreign import Foreign
from .form import form_document, read_form
from .placing import fitted, settings
from .schema import Asked
from .waiting import LOOK_SECONDS, Line, ended, nobody, picture_of, safety_header

__all__ = ["OPENAI", "openai_routes"]

MODELS = re.compile(r"gpt-image-[a-z0-9.-]{1,40}|dall-e-[23]|chatgpt-image-latest")
"""Whatever OpenAI's model a client names, it is ours that paints."""
MAX_PICTURES, MAX_PARTIALS = 10, 3
SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class Error(BaseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refused(BaseModel):
    """Every refusal."""

    error: Error


class Picture(BaseModel):
    """One picture, in one of two ways."""

    b64_json: str | None = None
    url: str | None = None


class Pictures(BaseModel):
    """The answer; `created` is in Unix seconds."""

    created: int
    data: list[Picture]
    background: str
    output_format: str
    quality: str
    size: str


def _said(status: int, refusal: Refusal) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:
        kind = "insufficient_quota" if refusal.label == "credits" else "rate_limit_error"
    return {"error": {"message": refusal.sentence, "type": kind, "param": refusal.field, "code": refusal.label}}


OPENAI = Foreign("/v1/images", Refused, _said, credits_status=429, headers={"x-should-retry": "false"})


def _size(text: str) -> str:
    if text != "auto" and not SIZE.fullmatch(text):
        raise ValueError("Input should be auto or WIDTHxHEIGHT, such as 1024x1024")
    return text


@dataclass(frozen=True)
class Edit(Asked):
    """What an edit asks for, and how it is answered."""

    fields: Any = None


def _fields_model(limits: Configuration) -> type[BaseModel]:
    """The text fields within these limits; what is not among them is refused by name."""

    def known(name: str) -> str:
        if name != limits.model and not MODELS.fullmatch(name):
            raise ValueError(f"Input should be {limits.model} or the name of an image model of OpenAI's")
        return name

    class Fields(BaseModel):
        model_config = ConfigDict(extra="forbid")
        prompt: Annotated[str, Field(min_length=1, max_length=limits.max_prompt)]
        model: Annotated[str, AfterValidator(known)] = limits.model
        n: Annotated[int, Field(ge=1, le=MAX_PICTURES)] = 1
        size: Annotated[str, AfterValidator(_size)] = "auto"
        quality: Literal["auto", "standard", "low", "medium", "high"] = "auto"
        background: Literal["auto", "opaque"] = "auto"
        input_fidelity: Literal["high", "low"] = "high"
        output_format: Literal["png", "jpeg", "webp"] = "png"
        output_compression: Literal["100"] = "100"
        response_format: Literal["b64_json", "url"] = "b64_json"
        stream: bool = False
        partial_images: Annotated[int, Field(ge=0, le=MAX_PARTIALS)] = 0

    return Fields


def openai_routes(limits: Configuration) -> APIRouter:
    """The one route of OpenAI's image API that an outpainter can answer."""
    routes = APIRouter(tags=["OpenAI"])
    fields = _fields_model(limits)
    door = Door("multipart/form-data", partial(_read, fields, limits))
    picture = {"model": Pictures, "description": "The pictures; events where stream is true.", "content": EVENTS}

    @routes.post(
        "/v1/images/edits",
        summary="Paint what is transparent",
        response_class=Response,
        responses={200: picture, **OPENAI.answers()},
        openapi_extra=form_document(fields, "image", "mask"),
    )
    async def edits(request: Request, service: Running, owner: ForeignCaller) -> Response:
        edit, taken = await all_submitted(request, service, owner, door, awaited=True)
        if any(replayed and not job.ended for job, replayed in taken):
            raise StillRunning
        jobs = [job for job, _ in taken]
        if edit.fields.stream:
            return stream(_streamed(service, edit, jobs[0]))
        done = await ended(request, service, jobs)
        return nobody() if done is None else await run_in_threadpool(_answer, service, edit, done)

    return routes


def _read(model: type[BaseModel], limits: Configuration, sent: Sent) -> Edit:
    form = read_form(sent)
    files = form.pictures("image", "mask")
    fields: Any = checked(model, form.fields)
    if fields.stream and (fields.n > 1 or fields.response_format == "url"):
        raise refused("stream", "is for one picture as b64_json: leave out n and response_format.")
    if fields.partial_images and not fields.stream:
        raise refused("partial_images", "goes with stream: set stream to true.")
    sent_as = {name: checked_picture(content, limits, name) for name, content in files.items()}
    holes = Mask(sent_as["mask"].content, "transparent") if "mask" in sent_as else None
    steps = {"low": limits.steps[0], "high": min(limits.steps[1], 2 * limits.steps_default)}
    chosen = settings(limits, prompt=fields.prompt, num_inference_steps=steps.get(fields.quality, limits.steps_default))
    suffix = "jpg" if fields.output_format == "jpeg" else fields.output_format
    order = Order(sent_as["image"].content, chosen, base64=False, format=suffix, door="openai")
    return Edit(order, form.fingerprint, holes, fields.n, partial(_placed, fields, limits), fields)


def _placed(fields: Any, limits: Configuration, order: Order, picture: Decoded) -> Order:
    found = SIZE.fullmatch(fields.size)
    return fitted(order, picture, (int(found[1]), int(found[2])) if found else None, limits)


def _answer(service: Service, edit: Edit, jobs: list[Job]) -> Response:
    contents = [picture_of(service, job) for job in jobs]
    if edit.fields.response_format == "url":
        data: list[dict[str, str]] = [
            {"url": service.links.signed(f"/v2/results/{job.id}.{job.format}")} for job in jobs
        ]
    else:
        data = [{"b64_json": base64.b64encode(content).decode()} for content in contents]
    body = {"created": int(jobs[0].created), "data": data, **_described(edit, contents[0])}
    return JSONResponse(
        body, headers={"x-request-id": jobs[0].id} | safety_header(service, *(job.result for job in jobs))
    )


def _described(edit: Edit, content: bytes) -> dict[str, str]:
    (width, height), _ = header("the result", content)
    return {
        "background": "opaque",
        "output_format": edit.fields.output_format,
        "quality": edit.fields.quality,
        "size": f"{width}x{height}",
    }


async def _streamed(service: Service, edit: Edit, job: Job) -> AsyncIterator[bytes]:
    """Partial pictures, which are small JPEGs of the run so far, then the picture or an error."""
    line, wanted, seen = Line(service, [job]), edit.fields.partial_images, 0
    shown: bytes | None = None
    try:
        with service.workers.bell.listening(job.id, for_steps=True) as rung:
            while not await line.ended():
                now = line.jobs[0]
                if now.preview not in (None, shown):
                    shown = now.preview
                    yield _event("partial_image", edit, now, shown or b"", partial_image_index=seen)
                    seen += 1
                due = now.step * (wanted + 1) >= (seen + 1) * now.steps > 0
                if seen < wanted and due and now.state == "PROCESSING" and not now.preview_asked:
                    await run_in_threadpool(service.jobs.ask_preview, job.id)
                rung.clear()
                with anyio.move_on_after(LOOK_SECONDS):
                    await rung.wait()
        done = line.jobs[0]
        yield _event("completed", edit, done, await run_in_threadpool(picture_of, service, done))
    except Refusal as refusal:
        yield event("error", _said(OPENAI.status(refusal), refusal))
    finally:
        # Whoever hangs up cancels this too.
        with anyio.CancelScope(shield=True):
            if not line.jobs[0].ended:
                await line.leave()


def _event(kind: str, edit: Edit, job: Job, content: bytes, **more: int) -> bytes:
    described = _described(edit, content) | ({"output_format": "jpeg"} if kind == "partial_image" else {})
    said = {"type": f"image_edit.{kind}", "b64_json": base64.b64encode(content).decode()}
    return event(f"image_edit.{kind}", said | {"created_at": int(job.created)} | described | more)
