"""AUTOMATIC1111's web UI: `img2img` with a mask, its progress, its interruption, and what clients ask first."""

import base64
import json
import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from ...samplers import SCHEDULERS
from ..configuration import Configuration
from ..queue.tables import Job
from ..refusals import Refusal, StillRunning
from .caller import Door, ForeignCaller, Running, Service, all_submitted
from .fields import refused
from .foreign import Foreign
from .img2img import DOOR, SAMPLERS, SCHEDULES, fields_model, read
from .schema import IDEMPOTENCY, Asked, json_object
from .waiting import ended, nobody, picture_of, safety_header

__all__ = ["AUTOMATIC1111", "automatic1111_routes"]

INTERRUPTED = "Interrupted. Nothing was charged."


class Refused(BaseModel):
    """Every refusal."""

    error: str
    detail: str
    body: str
    errors: str


class Images(BaseModel):
    """The answer: pictures as base64, what was asked for, and JSON as text of what was done."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class Progress(BaseModel):
    """How far this account's runs are, as one."""

    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: str | None
    textinfo: str | None


def _said(_: int, refusal: Refusal) -> dict[str, Any]:
    return {"error": refusal.label, "detail": refusal.sentence, "body": "", "errors": refusal.sentence}


AUTOMATIC1111 = Foreign("/sdapi", Refused, _said, input_status=422)


def automatic1111_routes(limits: Configuration) -> APIRouter:
    """`/sdapi/v1/img2img`, and what belongs to it."""
    routes = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"])
    model = fields_model(limits)
    door = Door("application/json", partial(read, model, limits))
    body = {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}
    errors = AUTOMATIC1111.errors(401, 500, 503)

    @routes.post(
        "/img2img",
        summary="Paint what a mask has white",
        response_class=Response,
        responses={200: {"model": Images}, **AUTOMATIC1111.answers()},
        openapi_extra={"requestBody": body, "parameters": [IDEMPOTENCY]},
    )
    async def img2img(request: Request, service: Running, owner: ForeignCaller) -> Response:
        asked, taken = await all_submitted(request, service, owner, door, awaited=True)
        if any(replayed and not job.ended for job, replayed in taken):
            raise StillRunning
        done = await ended(request, service, [job for job, _ in taken])
        return nobody() if done is None else await run_in_threadpool(_answer, service, asked, done)

    @routes.get("/progress", summary="How far this account's runs are", responses=errors)
    def progress(
        service: Running, owner: ForeignCaller, skip_current_image: Annotated[str, Query()] = "false"
    ) -> Progress:
        return _progress(service, service.jobs.open_of(owner, DOOR), skip_current_image.lower() != "true")

    @routes.post("/interrupt", summary="Cancel this account's runs", responses=errors)
    def interrupt(service: Running, owner: ForeignCaller) -> dict[str, Any]:
        for job in service.jobs.open_of(owner, DOOR):
            service.jobs.cancel(owner, job.id, "cancelled", INTERRUPTED)
            service.workers.bell.ring(job.id)
        return {}

    _settings_routes(routes, limits.model)
    return routes


def _settings_routes(routes: APIRouter, model: str) -> None:
    errors = AUTOMATIC1111.errors(401, 500, 503)
    content = {"application/json": {"schema": {"type": "object"}}}

    @routes.get("/options", summary="The settings: which model is loaded", responses=errors)
    def options(_: ForeignCaller) -> dict[str, Any]:
        return {"sd_model_checkpoint": model, "sd_checkpoint_hash": "", "samples_format": "png"}

    @routes.post(
        "/options",
        summary="Choose the model, which can only be the one that is loaded",
        responses=AUTOMATIC1111.errors(401, 408, 413, 422, 429, 500, 503),
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def set_options(request: Request, service: Running, owner: ForeignCaller) -> dict[str, Any]:
        async with service.bodies.reading(request, owner) as body:
            for name, value in json_object(body, "of the settings").items():
                if name != "sd_model_checkpoint" or value != model:
                    raise refused(name, f"cannot be set here: {model} is the one model, and nothing else is kept.")
        return {}

    @routes.get("/samplers", summary="Samplers", responses=errors)
    def samplers(_: ForeignCaller) -> list[dict[str, Any]]:
        aliases = {sampler.name: [sampler.name, *sampler.aliases] for sampler in SCHEDULERS}
        return [{"name": name, "aliases": aliases[ours], "options": {}} for name, ours in SAMPLERS.items()]

    @routes.get("/schedulers", summary="Schedules of a sampler's steps", responses=errors)
    def schedulers(_: ForeignCaller) -> list[dict[str, Any]]:
        rest = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
        return [{"name": name, "label": name.capitalize(), **rest} for name in SCHEDULES]

    @routes.get("/sd-models", summary="The one model", responses=errors)
    def sd_models(_: ForeignCaller) -> list[dict[str, Any]]:
        nothing = dict.fromkeys(("hash", "sha256", "config"))
        return [{"title": model, "model_name": model, "filename": model, **nothing}]

    @routes.get("/scripts", summary="Scripts, of which there are none", responses=errors)
    def scripts(_: ForeignCaller) -> dict[str, list[str]]:
        return {"txt2img": [], "img2img": []}


def _answer(service: Service, asked: Asked, jobs: list[Job]) -> Response:
    images = [base64.b64encode(picture_of(service, job)).decode() for job in jobs]
    fields = asked.order.fields
    seeds, prompt, negative = [job.seed for job in jobs], fields["prompt"], fields["negative_prompt"]
    parameters = {
        "prompt": prompt,
        "negative_prompt": negative,
        "seed": seeds[0],
        "sampler_name": fields["scheduler"],
        "steps": fields["num_inference_steps"],
        "cfg_scale": fields["guidance_scale"],
        "denoising_strength": fields["strength"],
        "width": fields["width"],
        "height": fields["height"],
    }
    info = parameters | {
        "all_prompts": [prompt] * len(jobs),
        "all_negative_prompts": [negative] * len(jobs),
        "all_seeds": seeds,
        "sd_model_name": service.configuration.model,
        "request_ids": [job.id for job in jobs],
    }
    said = {"images": images, "parameters": parameters, "info": json.dumps(info)}
    return JSONResponse(
        said, headers={"x-request-id": jobs[0].id} | safety_header(service, *(job.result for job in jobs))
    )


def _progress(service: Service, jobs: list[Job], with_picture: bool) -> Progress:
    running = [job for job in jobs if job.state == "PROCESSING"]
    if with_picture:
        for job in running[:1]:
            service.jobs.ask_preview(job.id)
    done = sum(job.step / max(1, job.steps) for job in running) / max(1, len(jobs))
    passed = service.store.clock() - (running[0].started or 0) if running else 0.0
    preview = running[0].preview if running and with_picture else None
    state = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": running[0].id if running else "",
        "job_count": len(jobs),
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(running[0].started)) if running else "0",
        "job_no": 0,
        "sampling_step": running[0].step if running else 0,
        "sampling_steps": running[0].steps if running else 0,
    }
    return Progress(
        progress=done,
        eta_relative=passed / done - passed if done else 0.0,
        state=state,
        current_image=base64.b64encode(preview).decode() if preview else None,
        textinfo=None,
    )
