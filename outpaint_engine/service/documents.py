"""What the OpenAPI document says of bodies and answers, in one place."""

from typing import Any

from .configuration import Configuration
from .contract import body_schema

__all__ = ["POST_ANSWERS", "body_document", "errors"]

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
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented error answers of a route."""
    return {
        status: {"description": WHEN[status], "content": {"application/json": {"schema": ERROR}}}
        | ({"headers": RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


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
