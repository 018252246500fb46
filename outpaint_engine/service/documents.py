"""What the OpenAPI document says of bodies and answers, in one place."""

from collections.abc import Mapping
from typing import Any

from .configuration import Configuration
from .contract import body_schema

__all__ = [
    "CANCELLED",
    "CREDITS",
    "PICTURE",
    "POST_ANSWERS",
    "RESULT",
    "STATUS",
    "SUBMITTED",
    "answer",
    "body_document",
    "errors",
    "without_validation",
]

WHEN = {
    401: "No valid API key in the header x-api-key.",
    404: "There is no such path, request or result.",
    405: "The path exists, and takes another method.",
    406: "Refused input, or not enough credits; the sentence says which.",
    408: "The body did not arrive in time.",
    409: "The request with this Idempotency-Key is still running, or this one has ended.",
    413: "The body or the picture is too large.",
    422: "Idempotency-Key was used for another request.",
    429: "Too many requests a minute for this account.",
    500: "Something broke; the sentence has the id under which it was logged.",
    503: "The queue is full, the run took too long, or the store cannot be written.",
}
TEXT, NUMBER, WHOLE = ({"type": kind} for kind in ("string", "number", "integer"))


def _header(says: str, schema: Mapping[str, Any] = TEXT) -> dict[str, Any]:
    return {"description": says, "schema": schema}


def _object(optional: Mapping[str, Any] | None = None, /, **required: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | dict(optional or {})}


ERROR = _object(error=TEXT)
RETRY_AFTER = {"Retry-After": _header("Seconds.", WHOLE)}
CREDITS = _object(credits=NUMBER)

ADDRESSES = {"poll_url": TEXT, "status_url": TEXT, "response_url": TEXT}
SUBMITTED = _object(request_id=TEXT, status={"const": "QUEUED"}, **ADDRESSES)
METRICS = ("inference_time", "queue_time", "total_time", "retry_count", "cost", "remaining_credits")
FACTS = {
    "status": {"enum": ["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]},
    "request_id": TEXT,
    **ADDRESSES,
    "error": {"type": ["string", "null"]},
    "metrics": {
        "type": "object",
        "properties": dict.fromkeys(METRICS, NUMBER),
        "description": "Seconds and credits, as far as they are known.",
    },
}
CANCELLED = _object(**FACTS)
STATUS = _object(
    **FACTS, progress=_object({"preview": TEXT | {"description": "A data URL of a JPEG."}}, step=WHOLE, steps=WHOLE)
)
RESULT = _object(
    {"quality_report": TEXT, "seed": WHOLE},
    **FACTS,
    output={"type": ["string", "null"], "description": "The picture's address, or base64 where that was asked for."},
)
PICTURE = {
    "description": "The picture; in JSON where base64 was asked for.",
    "content": {
        "image/jpeg": {"schema": TEXT | {"format": "binary"}},
        "application/json": {"schema": _object(image=TEXT)},
    },
    "headers": {
        "x-request-id": _header("The request in v2's paths."),
        "x-seed-value": _header("The seed that was used."),
        "x-generation-time": _header("Seconds."),
        "x-cost": _header("Credits."),
        "x-remaining-credits": _header("Credits."),
    },
}


def answer(schema: Mapping[str, Any], says: str = "JSON.") -> dict[str, Any]:
    """One documented answer with a JSON body."""
    return {"description": says, "content": {"application/json": {"schema": schema}}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented error answers of a route."""
    return {
        status: answer(ERROR, WHEN[status]) | ({"headers": RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


def without_validation(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the 422 that FastAPI promises for every path with a parameter, and never sends here."""
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    document["components"].pop("schemas", None)
    return document


EXAMPLE = {
    # 32x32 pixels of one blue.
    "image": (
        "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAK0lEQVR42u3NQQEAQAQAMC6mJOKIeiX4"
        "bQWW1ROXXhwTCAQCgUAgEAgEWz4UUwGyVbqoHAAAAABJRU5ErkJggg=="
    ),
    "prompt": "sunset mountains",
    "scale": 2,
}
POST_ANSWERS = errors(401, 404, 406, 408, 409, 413, 422, 429, 500, 503)


def body_document(configuration: Configuration) -> dict[str, Any]:
    """The request body and headers of both POSTs."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body_schema(configuration), "example": EXAMPLE}},
        },
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "A repeated request with the same key gets the first one's answer and is charged once.",
            }
        ],
    }
