"""Every limit, price and address of the service in one object; its defaults are Segmind's published ones.

What a client may send (`routes/schema.py`), what the OpenAPI document says and what the page offers follow from it.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from ..errors import RequestError

__all__ = ["Configuration"]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] <= pair[1]:
        raise ValueError("must be two numbers above 0, the smaller one first")
    return pair


Whole = Annotated[int, Strict(), Field(gt=0)]
WholeOr0 = Annotated[int, Strict(), Field(ge=0)]
Number = Annotated[float, Strict(), Field(gt=0)]
Flag = Annotated[bool, Strict()]
Numbers = Annotated[tuple[Number, Number], AfterValidator(_rising)]
Wholes = Annotated[tuple[Whole, Whole], AfterValidator(_rising)]


class Configuration(BaseModel):
    """Checked when made.

    Raises:
        ValidationError: a value is of another type, out of its range, or contradicts another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Addresses. Answers never take a URL from the Host header, which the client writes.
    public_url: Annotated[str, Strict(), Field(pattern="^https?://")] = "http://127.0.0.1:8000"
    model: Annotated[str, Strict()] = "sd1.5-outpaint"

    # What a request may ask for.
    canvas_sides: tuple[Annotated[int, Strict(), Field(gt=0, multiple_of=8)], ...] = (768, 1024)
    canvas_default: Whole = 1024
    steps: Wholes = (25, 100)
    steps_default: Whole = 25
    reuse: Literal["off", "careful", "fast"] = "off"
    """Steps in which the UNet is not run whole, for samplers that survive it; the others run as they are."""
    decoder: Literal["full", "tiny"] = "full"
    """What makes the picture of the latents: the VAE's decoder, or the engine set's tiny one, sooner."""
    scale: Numbers = (0.1, 10.0)
    strength: Numbers = (0.1, 1.0)
    guidance_scale: Numbers = (0.1, 25.0)
    max_offset: WholeOr0 = 1024
    max_mask_expand: WholeOr0 = 256
    max_prompt: Whole = 4000
    """Characters, for each of the two prompts."""
    loras: tuple[Annotated[str, Strict()], ...] = ()
    """LoRAs that prompts may name, `<lora:NAME:0.8>`: files of the folder `--loras`, without their ending."""
    lora_bytes: WholeOr0 = 4 * 2**30
    """Memory that the parts merged with them may keep; the latest is kept whatever its size."""
    url_images: Flag = True
    """Whether `image` may be an address that the service fetches."""
    metadata: Flag = True
    """Whether a result's file says that a model painted it, and on which request."""
    sign_certificate: Annotated[str, Strict()] = ""
    sign_key: Annotated[str, Strict()] = ""
    sign_algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = "es256"
    """PEM files that sign the content credentials of every result, and the key's algorithm."""
    safety: Literal["off", "flag", "refuse"] = "off"
    """Whether the engine set's safety checker looks at every result: to say in a header what it found, or to fail."""

    # What a picture may weigh, checked in this order and before each is read or decoded.
    max_body_bytes: Whole = 24 * 2**20
    max_image_bytes: Whole = 16 * 2**20
    max_pixels: Whole = 4096 * 4096
    max_side: Whole = 16_384
    """Both of the picture as sent, and again after `scale`."""
    max_scans: Whole = 100
    """Of a JPEG; encoders write about ten."""
    decoders: Whole = 2
    decode_seconds: Number = 10.0
    decode_bytes: Whole = 640 * 2**20
    """Processes that decode pictures, and the CPU time and memory that one picture may take in them."""
    body_seconds: Number = 30.0
    body_rate: WholeOr0 = 10_000
    """Bytes a second that a body must come at, after its first seconds."""
    concurrent_bodies: Whole = 24
    account_bodies: Whole = 8
    """Bodies taken in at one time, of all and of one account; two to three `max_body_bytes` of memory each."""
    header_seconds: Number = 10.0
    max_connections: Whole = 1000
    """How long the head of a request may take; beyond so many connections the oldest without one is closed."""

    # Credits and traffic.
    price: WholeOr0 = 10_900
    """Of one picture, in millionths of a credit."""
    max_queued: Whole = 64
    account_queued: Whole = 32
    """Jobs that wait, of all and of one account."""
    max_wait_seconds: Number = 3600.0
    """A job that would have to wait longer is refused; for v1, `inline_seconds` is the bound."""
    requests_per_minute: Whole = 60
    """Accepted requests of one account, and as many whose body was refused."""
    retry_after: Whole = 5
    """Seconds that a 503 asks the client to wait where nothing better is known."""

    # Running and keeping.
    shared_store: Flag = False
    """Whether several servers serve one store, each of which must say so; else one has it alone."""
    workers: Whole = 2
    """Requests that are run at one time; they share the loaded model."""
    load_twice: Flag = True
    """On a CPU, with several workers: load the model a second time for requests that run beside each other."""
    inline_seconds: Number = 300.0
    """How long a v1 answer is waited for before the run is given up with a 503."""
    awaited_seconds: Number = 10.0
    """A v1 job whose waiter has not been heard of for this long is given up; waiters speak up three times as often."""
    lease_seconds: Number = 60.0
    """A worker silent for this long has lost its job and is replaced; must exceed the slowest step and decoding."""
    max_attempts: Whole = 3
    keep_seconds: Number = 7 * 86_400.0
    """After this, results, finished requests and their idempotency keys are deleted."""
    link_seconds: Number = 3_600.0
    """How long a signed link to a result works."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.canvas_default not in self.canvas_sides:
            raise ValueError(f"canvas_default {self.canvas_default} is not one of canvas_sides {self.canvas_sides}")
        if bool(self.sign_certificate) != bool(self.sign_key):
            raise ValueError("sign_certificate and sign_key go together")
        if self.sign_certificate and not self.metadata:
            raise ValueError("sign_certificate needs metadata, which is off")
        if not self.steps[0] <= self.steps_default <= self.steps[1]:
            raise ValueError(f"steps_default {self.steps_default} is outside steps {self.steps}")
        if self.max_image_bytes * 4 // 3 > self.max_body_bytes:
            raise ValueError("max_body_bytes must hold max_image_bytes as base64, which is a third longer")
        return self

    def with_(self, **changes: Any) -> Self:
        """The same with other values, checked again."""
        return type(self)(**self.model_dump(exclude_unset=True) | changes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file whose keys are this object's fields.

        Raises:
            RequestError: the file cannot be read, has an unknown key, or a value that is refused; named.
        """
        try:
            return cls(**tomllib.loads(path.read_text()))
        except ValidationError as error:
            found = "; ".join(_said(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors())
            raise RequestError(f"The configuration {path} is refused: {found}. See docs/service.md.") from error
        except (OSError, ValueError) as error:
            raise RequestError(f"The configuration {path} cannot be read: {error}.") from error


def _said(where: tuple[int | str, ...], message: str, given: Any) -> str:
    if message.startswith("Extra inputs"):
        return f"{where[0]} is an unknown key"
    rest = re.sub("^[A-Z][a-z]+ should", "must", message.removeprefix("Value error, "))
    return f"{where[0]} {rest}, not {given!r:.60}" if where else rest
