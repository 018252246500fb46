"""What the service says when it says no: a status code, a sentence, and at times when to come back."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

__all__ = ["Refusal", "error_answer"]


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """Ends a request with `status` and the body {"error": sentence}; `kind` is its label in the metrics."""

    def __init__(self, status: int, sentence: str, kind: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.kind, self.retry_after = status, sentence, kind, retry_after

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return error_answer(self.status, self.sentence, wait)


def error_answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The body that every error has."""
    body: dict[str, Any] = {"error": sentence}
    return JSONResponse(body, status, dict(headers or {}))
