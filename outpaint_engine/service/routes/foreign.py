"""How other APIs word a refusal: each has its paths, its status codes and its body."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ..refusals import Cancelled, InputRefused, InsufficientCredits, Refusal, TooCostly
from .answers import RETRY_AFTER, Answers

__all__ = ["Foreign"]

WHEN = {
    400: "Refused input; the sentence names the field.",
    401: "No valid API key.",
    402: "Not enough credits.",
    404: "There is no such path.",
    405: "The path takes another method.",
    408: "The body did not arrive in time.",
    409: "The request was cancelled, or the one with this Idempotency-Key is still running.",
    413: "The body or a picture is too large.",
    422: "Refused input; the sentence names the field. Or Idempotency-Key was used for another request.",
    429: "Too many requests a minute for this account, or too many of it wait, or it has not enough credits.",
    500: "Something broke; the sentence has the id under which it was logged.",
    503: "Too much is under way, the run took too long, or the store cannot be written.",
}


@dataclass(frozen=True)
class Foreign:
    """The refusals of all paths that begin with `prefix`."""

    prefix: str
    error: type[BaseModel]
    """The body of a refusal, for the OpenAPI document."""
    said: Callable[[int, Refusal], Mapping[str, Any]]
    """The body of one, given its status."""
    input_status: int = 400
    credits_status: int = 402
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of refusals that it is of no use to repeat."""

    def status(self, refusal: Refusal) -> int:
        """The code of a refusal; ours where this API has none of its own."""
        if isinstance(refusal, InputRefused | TooCostly):
            return self.input_status
        return self.credits_status if isinstance(refusal, InsufficientCredits) else refusal.status

    def final(self, refusal: Refusal) -> Mapping[str, str]:
        """Headers that keep its clients from repeating in vain."""
        return self.headers if isinstance(refusal, InsufficientCredits | Cancelled) else {}

    def answers(self) -> Answers:
        """The documented refusals of a route that paints."""
        statuses = {401, 404, 408, 409, 413, 422, 429, 500, 503, self.input_status, self.credits_status}
        return self.errors(*sorted(statuses))

    def errors(self, *statuses: int) -> Answers:
        """The documented refusals of a route."""
        return {
            status: {"model": self.error, "description": WHEN[status]}
            | ({"headers": RETRY_AFTER} if status in (429, 503) else {})
            for status in statuses
        }
