"""The page for trying the service by hand: the files of this folder, served as they are, and the settings they need.

It is an ordinary client of v2 and knows no more than one: what it offers comes from `settings.json`, which says
nothing that the OpenAPI document does not say.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from ..configuration import Configuration
from ..queue.ledger import credits_text

__all__ = ["page_router"]

KINDS = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
INDEX = "index.html"

# No outside resource, no inline script or style, no frame around it; pictures may also come from the visitor.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page_router(configuration: Configuration, fields: Mapping[str, Any]) -> APIRouter:
    """`GET /` and, below `/page/`, what it loads. Needs no key: nothing here is anybody's.

    `fields` are the properties of the body's schema.
    """
    routes = APIRouter(include_in_schema=False)
    # Read once, by the names that are there: a path from outside never reaches the disk.
    kept = {entry.name: entry.read_bytes() for entry in files(__package__).iterdir() if _kind(entry.name)}
    settings = _settings(configuration, fields)

    @routes.get("/")
    async def index() -> Response:
        return _file(INDEX, kept[INDEX])

    @routes.get("/page/settings.json")
    async def offered() -> JSONResponse:
        return JSONResponse(settings, headers=HEADERS)

    def route(name: str, content: bytes) -> None:
        @routes.get(f"/page/{name}")
        async def file() -> Response:
            return _file(name, content)

    for name, content in kept.items():
        route(name, content)
    return routes


def _kind(name: str) -> str | None:
    return KINDS.get(name.rpartition(".")[2])


def _file(name: str, content: bytes) -> Response:
    return Response(content, media_type=_kind(name), headers=HEADERS)


def _settings(configuration: Configuration, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the page offers, all from the configuration."""
    return {
        "model": configuration.model,
        "fields": fields,
        "price": credits_text(configuration.price),
        "max_pixels": configuration.max_pixels,
        "max_image_bytes": configuration.max_image_bytes,
        "largest_side": max(configuration.canvas_sides),
    }
