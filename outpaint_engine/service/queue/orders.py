"""What is asked for before it is a job, and what came of it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ...request import OutpaintRequest
from .tables import Job

__all__ = ["Order", "Retry", "Submission"]


@dataclass(frozen=True)
class Order:
    """A checked request: the picture file's bytes, and every other field of `OutpaintRequest` by name."""

    picture: bytes
    """Empty where `flaw` says why it cannot be painted on: such a job fails as soon as it is written."""
    fields: dict[str, Any]
    base64: bool
    """Whether the answer should hold the picture as text."""
    flaw: str | None = None
    format: str = "jpg"
    """Of the result's file: jpg, png or webp."""
    crop: tuple[int, int, int, int] | None = None
    """What of the canvas is wanted, where that is not all: left, top, right, bottom."""
    door: str = ""
    """The API that asked, where it is not our own."""

    @property
    def work(self) -> float:
        """How much there is to do, in steps of a megapixel; coding and decoding weigh as about four steps."""
        steps = self.fields["num_inference_steps"] * self.fields["strength"] + 4
        return float(steps * self.fields["width"] * self.fields["height"] / 1e6)

    def request(self) -> OutpaintRequest:
        """What the runtime runs."""
        return OutpaintRequest(image=self.picture, **self.fields)

    def numbered(self, number: int) -> "Order":
        """The same with another seed, for the picture of this number, from 0, of those that one request asks for."""
        return replace(self, fields=self.fields | {"seed": self.fields["seed"] + number})


@dataclass(frozen=True)
class Retry:
    """What makes a repeated request recognisable: the client's key, and the SHA-256 of what it asked for."""

    key: str
    fingerprint: str

    def numbered(self, number: int) -> "Retry":
        """The key of one of several jobs of a request; the first has the client's own."""
        if not number:
            return self
        return replace(self, key=f"{hashlib.sha256(self.key.encode()).hexdigest()}:{number}")


class Submission(NamedTuple):
    """A job, and whether an earlier request with the same idempotency key had made it."""

    job: Job
    replayed: bool = False
