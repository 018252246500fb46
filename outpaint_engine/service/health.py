"""Whether the process lives, whether it should be sent requests, and what it has done."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from .documents import answer
from .parts import Parts

__all__ = ["health_routes"]


def health_routes(parts: Parts) -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`; none of them says anything of a client."""
    routes = APIRouter(tags=["Health"])

    @routes.get("/livez", summary="The process answers", responses={200: answer({"const": {"status": "ok"}})})
    async def livez() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @routes.get("/readyz", summary="It can take requests", responses={200: CHECKS, 503: CHECKS})
    async def readyz() -> JSONResponse:
        checks = await run_in_threadpool(_checks, parts)
        return JSONResponse(checks, 200 if all(checks.values()) else 503)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=PLAIN)
    async def metrics() -> Response:
        states = await run_in_threadpool(parts.jobs.counts)
        return Response(parts.workers.metrics.text(states), media_type=CONTENT_TYPE_LATEST)

    return routes


CHECKS = answer({"type": "object", "additionalProperties": {"type": "boolean"}}, "Whether each check holds.")
PLAIN: dict[int | str, dict[str, Any]] = {200: {"description": "Prometheus' text.", "content": {"text/plain": {}}}}


def _checks(parts: Parts) -> dict[str, bool]:
    workers = parts.workers
    return {
        "warm": workers.warm,
        "workers_alive": workers.alive,
        "last_run_fine": workers.last_run_fine,
        "store_writable": _works(parts.store.probe),
        "results_writable": _works(parts.results.probe),
    }


def _works(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        return False
    return True
