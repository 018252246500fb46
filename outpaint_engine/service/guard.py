"""Wraps every request: safe headers, one log line without anything private, metrics, and errors as an id only."""

import logging
import time

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import record_failure
from .metrics import Metrics
from .refusals import Broken, FramedTwice, Refusal
from .routes.automatic1111 import AUTOMATIC1111
from .routes.openai import OPENAI
from .routes.stability import STABILITY

__all__ = ["Guard", "answer"]

log = logging.getLogger("outpaint_engine.service")

SAFE = ((b"cache-control", b"private, no-store"), (b"x-content-type-options", b"nosniff"))


FOREIGN = (OPENAI, AUTOMATIC1111, STABILITY)


def answer(refusal: Refusal, path: str) -> JSONResponse:
    """The HTTP answer that a refusal is on a path: each API has its own."""
    headers = dict(refusal.headers)
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    for api in FOREIGN:
        if path.startswith(api.prefix):
            status = api.status(refusal)
            return JSONResponse(api.said(status, refusal), status, {**headers, **api.final(refusal)})
    return JSONResponse({"error": refusal.sentence}, refusal.status, headers)


class Guard:
    """ASGI middleware; the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        scope = _in_origin_form(scope)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *SAFE]}
            await send(message)

        try:
            if _framed_twice(scope):
                await answer(FramedTwice(), scope["path"])(scope, receive, watched)
            else:
                await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = status or 499
        except Exception as error:
            broken = Broken(sentence=f"Internal error {record_failure(error, 'a request')}.")
            if not status:
                await answer(broken, scope["path"])(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The template of the route, never the path: a path may hold an id and a query a signature.
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.answers.labels(route, status).inc()
        self._metrics.duration.labels(route).observe(seconds)
        log.info("%s %s %d %.3f s", scope["method"] if route != "none" else "-", route, status, seconds)


def _in_origin_form(scope: Scope) -> Scope:
    """The request as if its target were a path: RFC 9112, 3.2.2, has a server take http://HOST/PATH as well."""
    path = scope["path"]
    if path[:7].lower() != "http://" and path[:8].lower() != "https://":
        return scope
    _, _, rest = path.partition("://")
    path = rest.partition("/")[2]
    raw = scope.get("raw_path", b"").partition(b"://")[2].partition(b"/")[2]
    return {**scope, "path": "/" + path, "raw_path": b"/" + raw}


def _framed_twice(scope: Scope) -> bool:
    """Whether the body's end is said in two ways, which a proxy may have read differently (RFC 9112, 6.1)."""
    names = {name for name, _ in scope["headers"]}
    return {b"content-length", b"transfer-encoding"} <= names
