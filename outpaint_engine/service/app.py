"""Puts the service together, and turns what went wrong into an answer. What each part does is in its own file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi_offline import FastAPIOffline
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from .. import __version__
from ..errors import OutputError
from ..shared import SharedPipeline
from .configuration import Configuration
from .failures import record_failure
from .guard import Guard, answer
from .metrics import Metrics
from .page import page_router
from .painters import LocalPainters, Painters
from .painting import painter_of
from .pictures.decoding import Decoders
from .queue.accounts import Accounts
from .queue.files import Files
from .queue.jobs import Jobs
from .queue.leases import Leases
from .queue.memory import Memory
from .queue.store import Store
from .refusals import NoSuchPath, Refusal, Unwritable, WrongMethod
from .routes.automatic1111 import automatic1111_routes
from .routes.bodies import Bodies
from .routes.caller import Service
from .routes.health import health_routes
from .routes.links import Links
from .routes.openai import openai_routes
from .routes.schema import Contract
from .routes.stability import stability_routes
from .routes.v1 import v1_routes
from .routes.v2 import v2_routes
from .worker import SPARE_PLACES, Workers

__all__ = ["create_app"]

ROUTING: dict[int, type[Refusal]] = {404: NoSuchPath, 405: WrongMethod}
"""What the router says; nothing else here raises an error of Starlette's."""


def create_app(configuration: Configuration, store: Store, files: Files, model: SharedPipeline | Painters) -> FastAPI:
    """The ASGI application, over a model of this process or painters elsewhere.

    Its workers start and stop with it; the store and the model stay the caller's to close.
    """
    painters = _local(configuration, model) if isinstance(model, SharedPipeline) else model
    service = _service(configuration, store, files, painters)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.workers.start()
        try:
            yield
        finally:
            await run_in_threadpool(service.workers.stop)
            service.decoders.close()

    # As FastAPI, but what /docs loads comes from here and not from a CDN.
    app = FastAPIOffline(
        title="outpaint_engine", version=__version__, lifespan=lifespan, redirect_slashes=False, redoc_url=None
    )
    app.state.service = service
    app.add_middleware(Guard, metrics=service.metrics)
    for routes in (
        page_router(configuration, service.contract.fields),
        health_routes(),
        v1_routes(configuration.model, service.contract),
        v2_routes(configuration.model, service.contract),
        openai_routes(configuration),
        automatic1111_routes(configuration),
        stability_routes(configuration),
    ):
        app.include_router(routes)
    app.openapi_schema = _without_validation(app.openapi())
    _answer_errors(app, service)
    return app


def _local(configuration: Configuration, model: SharedPipeline) -> Painters:
    spare = SPARE_PLACES * configuration.workers
    return LocalPainters(painter_of(configuration, model, spare), configuration.workers)


def _service(configuration: Configuration, store: Store, files: Files, painters: Painters) -> Service:
    metrics = Metrics()
    decoders = Decoders(configuration.decoders, configuration.decode_seconds, configuration.decode_bytes)
    memory = Memory(store) if store.hold(shared=configuration.shared_store) else None
    jobs = Jobs(store, files, configuration, memory)
    workers = Workers(painters, Leases(store, files, configuration, memory), files, configuration, metrics)
    jobs.when_cancelled = workers.cancelled
    return Service(
        configuration=configuration,
        contract=Contract(configuration),
        store=store,
        files=files,
        accounts=Accounts(store),
        jobs=jobs,
        links=Links(configuration.public_url, store.link_secret, configuration.link_seconds, store.clock),
        workers=workers,
        metrics=metrics,
        bodies=Bodies(configuration),
        decoders=decoders,
    )


def _answer_errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        service.metrics.refused.labels(refusal.label).inc()
        return answer(refusal, request.url.path)

    @app.exception_handler(HTTPException)
    async def routed(request: Request, error: HTTPException) -> Response:
        refusal = ROUTING[error.status_code]()
        refusal.headers.update(error.headers or {})
        return answer(refusal, request.url.path)

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(OutputError)
    async def unwritable(request: Request, error: Exception) -> Response:
        identity = record_failure(error, "a request")
        refusal = Unwritable(identity=identity, retry_after=service.configuration.retry_after)
        return answer(refusal, request.url.path)


def _without_validation(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the 422 that FastAPI promises for every path with a parameter, and never sends here."""
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document
