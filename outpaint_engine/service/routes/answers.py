"""What is answered, as pydantic models, and the refusals that each route documents."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

__all__ = [
    "ANSWERS",
    "RETRY_AFTER",
    "Answers",
    "Credits",
    "Facts",
    "Metrics",
    "Picture",
    "Progress",
    "Result",
    "Status",
    "Submitted",
    "errors",
]


class Submitted(BaseModel):
    """A request that was taken."""

    request_id: str
    status: Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]
    poll_url: str
    status_url: str
    response_url: str


class Metrics(BaseModel):
    """Seconds and credits, as far as they are known."""

    inference_time: float | SkipJsonSchema[None] = None
    queue_time: float | SkipJsonSchema[None] = None
    total_time: float | SkipJsonSchema[None] = None
    retry_count: float | SkipJsonSchema[None] = None
    cost: float | SkipJsonSchema[None] = None
    remaining_credits: float | SkipJsonSchema[None] = None


class Facts(Submitted):
    """A request as it is now."""

    error: str | None
    metrics: Metrics


class Progress(BaseModel):
    """How far a run is."""

    step: int
    steps: int
    preview: Annotated[str | SkipJsonSchema[None], Field(description="A data URL of a JPEG.")] = None


class Status(Facts):
    """A request and its progress."""

    progress: Progress


class Result(Facts):
    """A request and what came of it."""

    output: Annotated[str | None, Field(description="The picture's address, or base64 where that was asked for.")]
    quality_report: str | SkipJsonSchema[None] = None
    seed: int | SkipJsonSchema[None] = None
    safety_flagged: Annotated[
        bool | SkipJsonSchema[None],
        Field(description="Whether the safety checker flagged it, where the service looks."),
    ] = None


class Picture(BaseModel):
    """v1's answer where base64 was asked for."""

    image: str


class Credits(BaseModel):
    """What the account has left."""

    credits: float


class Error(BaseModel):
    """Every refusal."""

    error: str


WHEN = {
    401: "No valid API key in the header x-api-key.",
    404: "There is no such path, request or result.",
    406: "Refused input, a result that the safety checker flagged, or not enough credits; the sentence says which.",
    408: "The body did not arrive in time.",
    409: "The request with this Idempotency-Key is still running, or this one has ended.",
    413: "The body or the picture is too large.",
    422: "Idempotency-Key was used for another request.",
    429: "Too many requests a minute for this account, or too many of it wait.",
    500: "Something broke; the sentence has the id under which it was logged.",
    503: "Too much is under way, the run took too long, or the store cannot be written.",
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
Answers = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Answers:
    """The documented refusals of a route."""
    return {
        status: {"model": Error, "description": WHEN[status]}
        | ({"headers": RETRY_AFTER} if status in (429, 503) else {})
        for status in statuses
    }


ANSWERS = errors(401, 404, 406, 408, 409, 413, 422, 429, 500, 503)
"""The refusals of both POSTs."""
