"""Every limit, price and address of the service in one object; its defaults are Segmind's published ones.

What a client may send (`contract.py`), what the OpenAPI document says and what the page offers follow from it.
"""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import RequestError

__all__ = ["MICROS", "Configuration", "credits_text"]

MAY_BE_0 = ("url_images", "load_twice", "price", "max_offset", "max_mask_expand")
MICROS = 1_000_000
"""Credits are counted in whole millionths, so that sums are exact."""


@dataclass(frozen=True)
class Configuration:
    """Checked when made.

    Raises:
        RequestError: a value contradicts another; the message names both.
    """

    # Addresses. Answers never take a URL from the Host header, which the client writes.
    public_url: str = "http://127.0.0.1:8000"
    model: str = "sd1.5-outpaint"

    # What a request may ask for.
    canvas_sides: tuple[int, ...] = (768, 1024)
    canvas_default: int = 1024
    steps: tuple[int, int] = (25, 100)
    steps_default: int = 25
    scale: tuple[float, float] = (0.1, 10.0)
    strength: tuple[float, float] = (0.1, 1.0)
    guidance_scale: tuple[float, float] = (0.1, 25.0)
    max_offset: int = 1024
    max_mask_expand: int = 256
    max_prompt: int = 4000
    """Characters, for each of the two prompts."""
    url_images: bool = True
    """Whether `image` may be an address that the service fetches."""

    # What a picture may weigh, checked in this order and before each is read or decoded.
    max_body_bytes: int = 24 * 2**20
    max_image_bytes: int = 16 * 2**20
    max_pixels: int = 4096 * 4096
    """Of the picture as sent, and again after `scale`."""
    body_seconds: float = 30.0
    concurrent_bodies: int = 8
    """Bodies read at one time; this times about three times `max_body_bytes` bounds the memory of intake."""

    # Credits and traffic.
    price: int = 10_900
    """Of one picture, in millionths of a credit."""
    max_queued: int = 64
    requests_per_minute: int = 60
    """Accepted requests of one account, and as many whose body was refused."""
    retry_after: int = 5
    """Seconds that a 503 asks the client to wait."""

    # Running and keeping.
    workers: int = 2
    """Requests that are run at one time; they share the loaded model."""
    load_twice: bool = True
    """On a CPU, with several workers: load the model a second time for requests that run beside each other."""
    inline_seconds: float = 300.0
    """How long a v1 answer is waited for before the run is given up with a 503."""
    awaited_seconds: float = 10.0
    """A v1 job whose waiter has not been heard of for this long is given up; waiters speak up three times as often."""
    lease_seconds: float = 60.0
    """A worker silent for this long has lost its job; must exceed the slowest single step and decoding."""
    max_attempts: int = 3
    keep_seconds: float = 7 * 86_400
    """After this, results, finished requests and their idempotency keys are deleted."""
    link_seconds: float = 3_600
    """How long a signed link to a result works."""

    def __post_init__(self) -> None:
        """Refuse what could never be served."""
        if not self.public_url.startswith(("http://", "https://")):
            raise RequestError(f"public_url must begin with http:// or https://, not be {self.public_url!r}.")
        if self.canvas_default not in self.canvas_sides:
            raise RequestError(f"canvas_default {self.canvas_default} is not one of canvas_sides {self.canvas_sides}.")
        if any(side % 8 or side <= 0 for side in self.canvas_sides):
            raise RequestError(f"canvas_sides must be multiples of 8, not {self.canvas_sides}.")
        if not self.steps[0] <= self.steps_default <= self.steps[1]:
            raise RequestError(f"steps_default {self.steps_default} is outside steps {self.steps}.")
        if self.max_image_bytes * 4 // 3 > self.max_body_bytes:
            raise RequestError("max_body_bytes must hold max_image_bytes as base64, which is a third longer.")
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, int | float) and (value < 0 or (value == 0 and name not in MAY_BE_0)):
                raise RequestError(f"{name} must be {'0 or more' if name in MAY_BE_0 else 'above 0'}, not {value}.")
            if isinstance(value, tuple) and name != "canvas_sides" and not 0 < value[0] <= value[-1]:
                raise RequestError(f"{name} must be two numbers above 0, the smaller one first, not {value}.")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file whose keys are this object's fields.

        Raises:
            RequestError: the file cannot be read, has an unknown key or a value of another type.
        """
        try:
            given = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RequestError(f"The configuration {path} cannot be read: {error}.") from error
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        for name, value in given.items():
            if name not in defaults:
                raise RequestError(
                    f"The configuration {path} has an unknown key {name!r}; known: {', '.join(defaults)}."
                )
            given[name] = _like(name, value, defaults[name])
        return cls(**given)


def _like(name: str, value: Any, default: Any) -> Any:
    """`value` in the type of `default`; a list becomes a tuple, a whole number a float."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(_like(name, entry, default[0]) for entry in value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise RequestError(f"{name} in the configuration must be like {default!r}, not {value!r}.")
    return value


def credits_text(micros: int) -> str:
    """Millionths of a credit as a decimal number without needless zeros: 10900 is "0.0109"."""
    sign, (whole, part) = "-" * (micros < 0), divmod(abs(micros), MICROS)
    return f"{sign}{whole}.{part:06d}".rstrip("0").rstrip(".")
