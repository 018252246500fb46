"""Every way of saying no, one class a reason: its status code, its label in the metrics and its sentence.

The queue and the intake of pictures raise them by their reason; only `app.py` turns one into an HTTP answer.
"""

from typing import ClassVar

__all__ = [
    "AccountQueueFull",
    "Broken",
    "Cancelled",
    "Flagged",
    "FramedTwice",
    "HasEnded",
    "InputRefused",
    "InsufficientCredits",
    "IntakeFull",
    "KeyReused",
    "NoSuchPath",
    "QueueFull",
    "Refusal",
    "SlowBody",
    "StillRunning",
    "TooCostly",
    "TookTooLong",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unknown",
    "Unwritable",
    "WrongMethod",
    "failed_job",
]


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """Ends a request with the body {"error": sentence}; `retry_after` is in whole seconds, `field` what was wrong.

    `status`, `label` and `says` belong to the class; what stands in braces in `says` is given when it is raised.
    """

    status: ClassVar[int]
    label: ClassVar[str]
    says: ClassVar[str] = "{sentence}"

    def __init__(self, *, retry_after: int | None = None, field: str | None = None, **said: object) -> None:
        self.sentence = self.says.format(**said)
        self.retry_after, self.field = retry_after, field
        self.headers: dict[str, str] = {}
        super().__init__(self.sentence)


class FramedTwice(Refusal):
    """Content-Length beside Transfer-Encoding: the connection is closed, as nobody knows where the body ends."""

    status, label, says = 400, "framing", "A request has Content-Length or Transfer-Encoding, not both."

    def __init__(self) -> None:
        super().__init__()
        self.headers["Connection"] = "close"


class Unauthorized(Refusal):
    """No key, an unknown or a disabled one: one text for all."""

    status, label, says = 401, "key", "Unauthorized: send a valid API key {where}."


class Unknown(Refusal):
    """Nothing is there, or it is another account's."""

    status, label, says = 404, "unknown", "There is no such request, or it is no longer kept."


class NoSuchPath(Refusal):
    """Nothing is answered there."""

    status, label, says = 404, "path", "There is no such path or model."


class WrongMethod(Refusal):
    """The path takes another method."""

    status, label, says = 405, "method", "This path takes another method."


class InputRefused(Refusal):
    """What was sent cannot be served; the sentence names the field."""

    status, label = 406, "input"


class InsufficientCredits(Refusal):
    """The account's balance is below the price."""

    status, label, says = 406, "credits", "Insufficient credits."


class SlowBody(Refusal):
    """The body did not come."""

    status, label, says = 408, "slow_body", "The body did not arrive within {seconds:g} seconds."


class StillRunning(Refusal):
    """A repeated v1 request whose first run has not ended."""

    status, label, says = 409, "idempotency", "The request with this Idempotency-Key is still running."


class HasEnded(Refusal):
    """What should be cancelled has ended."""

    status, label, says = 409, "ended", "The request has ended already: {state}."


class Cancelled(Refusal):
    """A v1 request that was cancelled from elsewhere."""

    status, label = 409, "cancelled"


class TooLarge(Refusal):
    """The body or the picture has too many bytes."""

    status, label, says = 413, "too_large", "{what} is larger than {limit:,} bytes."


class KeyReused(Refusal):
    """An idempotency key came back with another request."""

    status, label, says = 422, "idempotency", "Idempotency-Key was used for another request: choose a new one."


class TooManyRequests(Refusal):
    """An account asks for too much."""

    status, label, says = 429, "rate", "More than {most} requests a minute."


class AccountQueueFull(Refusal):
    """Too many jobs of one account wait."""

    status, label, says = 429, "account_queue", "More than {most} requests of this account wait."


class TooCostly(Refusal):
    """A picture whose decoding had to be ended; it counts as several refused bodies."""

    status, label = 406, "costly"


class Broken(Refusal):
    """Something failed that nobody expected; the sentence has the id under which it was logged."""

    status, label = 500, "internal"


class QueueFull(Refusal):
    """Too many jobs wait, or this one would wait too long."""

    status, label, says = 503, "queue_full", "The queue is full; try again soon."


class IntakeFull(Refusal):
    """Too many bodies are being taken in."""

    status, label, says = 503, "intake_full", "Too many requests are being taken in; try again soon."


class Flagged(Refusal):
    """The safety checker flagged what was painted."""

    status, label = 406, "safety"


class TookTooLong(Refusal):
    """A v1 request whose run was given up."""

    status, label = 503, "timeout"


class Unwritable(Refusal):
    """The database or the disk fails."""

    status, label, says = 503, "store", "The store cannot be used now; nothing was charged. Error {identity}."


def failed_job(reason: str | None, sentence: str, retry_after: int) -> Refusal:
    """What v1 answers for a FAILED job."""
    kinds: dict[str | None, type[Refusal]] = {
        "input": InputRefused,
        "cancelled": Cancelled,
        "timeout": TookTooLong,
        "safety": Flagged,
    }
    kind = kinds.get(reason, Broken)
    return kind(sentence=sentence, retry_after=retry_after if kind is TookTooLong else None)
