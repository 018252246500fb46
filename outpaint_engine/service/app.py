"""Puts the service together. Wiring only: what each part does is in its own file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from .. import __version__
from ..errors import OutputError
from ..shared import SharedPipeline
from .accounts import Accounts
from .answers import Refusal, error_answer
from .configuration import Configuration
from .documents import without_validation
from .failures import record_failure
from .guard import Guard
from .health import health_routes
from .jobs import Jobs
from .leases import Leases
from .links import Links
from .page import page_router
from .parts import Parts
from .refused import Refused
from .results import Results
from .store import Store
from .v1 import v1_routes
from .v2 import v2_routes
from .worker import Workers

__all__ = ["create_app"]

KEY = APIKeyHeader(name="x-api-key", auto_error=False)


def create_app(configuration: Configuration, store: Store, results: Results, model: SharedPipeline) -> FastAPI:
    """The ASGI application. Its workers start and stop with it; the store and the model stay the caller's to close."""
    parts = _parts(configuration, store, results, model)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.workers.start()
        try:
            yield
        finally:
            await run_in_threadpool(parts.workers.stop)

    # As FastAPI, but what /docs loads comes from here and not from a CDN.
    app = FastAPIOffline(
        title="outpaint_engine", version=__version__, lifespan=lifespan, redirect_slashes=False, redoc_url=None
    )
    metrics = parts.workers.metrics
    app.add_middleware(Guard, metrics=metrics)
    app.include_router(page_router(configuration))
    app.include_router(health_routes(parts))
    for routes in (v1_routes(parts), v2_routes(parts)):
        app.include_router(routes, dependencies=[Depends(KEY)])
    app.openapi_schema = without_validation(app.openapi())

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        metrics.refused.labels(refusal.kind).inc()
        return refusal.answer()

    @app.exception_handler(HTTPException)
    async def routed(_: Request, error: HTTPException) -> Response:
        sentence = {404: "There is no such path or model.", 405: "This path takes another method."}
        return error_answer(error.status_code, sentence.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(OutputError)
    async def unwritable(_: Request, error: Exception) -> Response:
        sentence = f"The store cannot be used now; nothing was charged. Error {record_failure(error, 'a request')}."
        return error_answer(503, sentence, {"Retry-After": str(configuration.retry_after)})

    return app


def _parts(configuration: Configuration, store: Store, results: Results, model: SharedPipeline) -> Parts:
    leases = Leases(store, results, configuration)
    workers = Workers(model, leases, results, configuration)
    links = Links(configuration.public_url, store.link_secret, configuration.link_seconds, store.clock)
    return Parts(
        configuration=configuration,
        store=store,
        accounts=Accounts(store),
        jobs=Jobs(store, results, configuration),
        results=results,
        links=links,
        workers=workers,
        intake=asyncio.Semaphore(configuration.concurrent_bodies),
        refused=Refused(configuration.requests_per_minute),
    )
