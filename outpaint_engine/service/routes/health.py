"""Whether the process lives, whether it should be sent requests, and what it has done."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from .caller import Running, Service

__all__ = ["health_routes"]

CHECKS: dict[str, Any] = {"model": dict[str, bool], "description": "Whether each check holds."}
PLAIN: dict[int | str, dict[str, Any]] = {200: {"description": "Prometheus' text.", "content": {"text/plain": {}}}}


def health_routes() -> APIRouter:
    """`/livez`, `/readyz` and `/metrics`; none of them says anything of a client."""
    routes = APIRouter(tags=["Health"])

    @routes.get("/livez", summary="The process answers")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", summary="It can take requests", responses={200: CHECKS, 503: CHECKS})
    def readyz(service: Running) -> Response:
        checks = _checks(service)
        return JSONResponse(checks, 200 if all(checks.values()) else 503)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=PLAIN)
    def metrics(service: Running) -> Response:
        return Response(service.metrics.text(service.jobs.counts()), media_type=CONTENT_TYPE_LATEST)

    return routes


def _checks(service: Service) -> dict[str, bool]:
    workers = service.workers
    return {
        "warm": workers.warm,
        "workers_alive": workers.alive,
        "engine_answers": workers.engine_answers,
        "last_run_fine": workers.last_run_fine,
        "queue_readable": workers.queue_readable,
        "store_writable": _works(service.store.probe),
        "results_writable": _works(service.files.probe),
    }


def _works(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        return False
    return True
