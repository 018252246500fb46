"""The JSON body of a request: one table of fields, from which come its validation and its OpenAPI schema.

Names, ranges and defaults are those of Segmind's page for sd1.5-outpaint, taken from the configuration.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import RequestError
from ..noise import random_seed
from ..request import MAX_SEED, OutpaintRequest
from ..samplers import SCHEDULERS, find_scheduler
from .answers import Refusal
from .configuration import Configuration
from .intake import picture_from

__all__ = ["Order", "body_schema", "order_from"]

REQUIRED = object()
RENAMED = {"img_width": "width", "img_height": "height"}
PICTURE, BY_URL = "Base64 or a data URL of a PNG, JPEG or WebP", ", or its http or https address"
JSON_TYPES = {"text": "string", "whole": "integer", "number": "number", "flag": "boolean"}


class Field(NamedTuple):
    """One field of the body; `low` and `high` bound a number's value or a text's length."""

    name: str
    kind: str
    default: Any
    low: float = 0
    high: float = 0
    choices: tuple[Any, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class Order:
    """A checked request: the picture file's bytes, and every other field of `OutpaintRequest` by name.

    `fingerprint` is the SHA-256 of the body's meaning: equal for equal requests, however they are spaced.
    """

    picture: bytes
    fields: dict[str, Any]
    base64: bool
    fingerprint: str

    def request(self) -> OutpaintRequest:
        """What the runtime runs."""
        return OutpaintRequest(image=self.picture, **self.fields)


def order_from(body: bytes | bytearray, configuration: Configuration) -> Order:
    """Read a body.

    Raises:
        Refusal: 406 or 413; the sentence names the field, what it must be and what it was.
    """
    given = _object(body)
    values = {field.name: _value(field, given) for field in _table(configuration)}
    wants_base64 = values.pop("base64")
    picture = picture_from(values.pop("image"), configuration)
    fields = {RENAMED.get(name, name): value for name, value in values.items()}
    # Drawn now, so that another attempt after a crash paints the same picture.
    fields["seed"] = random_seed() if fields["seed"] < 0 else fields["seed"]
    order = Order(picture.content, fields, wants_base64, _fingerprint(given))
    try:
        width, height = order.request().placement.scaled(picture.size)
    except RequestError as error:
        raise Refusal(406, str(error), "input") from error
    if width * height > configuration.max_pixels:
        raise Refusal(
            406,
            f"scale {fields['scale']:g} would make the picture {width}x{height}; at most "
            f"{configuration.max_pixels:,} pixels are taken. Use a smaller scale.",
            "input",
        )
    return order


def body_schema(configuration: Configuration) -> dict[str, Any]:
    """The JSON schema of a body."""
    table = _table(configuration)
    return {
        "type": "object",
        "required": [field.name for field in table if field.default is REQUIRED],
        "properties": {field.name: _field_schema(field) for field in table},
    }


def _table(configuration: Configuration) -> tuple[Field, ...]:
    c = configuration
    side = Field("", "choice", c.canvas_default, choices=c.canvas_sides, says="Canvas side in pixels.")
    names = tuple(scheduler.name for scheduler in SCHEDULERS)
    return (
        Field("image", "text", REQUIRED, 1, c.max_body_bytes, says=PICTURE + BY_URL * c.url_images + "."),
        Field("prompt", "text", REQUIRED, 0, c.max_prompt, says="What the whole picture shows."),
        Field("negative_prompt", "text", None, 0, c.max_prompt, says="What it should not show; NONE means nothing."),
        Field("scheduler", "scheduler", "DDIM", choices=names, says="The sampler; usual aliases are taken too."),
        Field("num_inference_steps", "whole", c.steps_default, *c.steps),
        side._replace(name="img_width"),
        side._replace(name="img_height"),
        Field("scale", "number", 0.2, *c.scale, says="Factor on the picture's own pixels."),
        Field("strength", "number", 1.0, *c.strength),
        Field("offset_x", "whole", 1, 0, c.max_offset, says="The picture's left edge on the canvas."),
        Field("offset_y", "whole", 1, 0, c.max_offset, says="The picture's top edge on the canvas."),
        Field("guidance_scale", "number", 7.5, *c.guidance_scale),
        Field("mask_expand", "whole", 8, 0, c.max_mask_expand, says="Pixels of the border that are painted anew."),
        Field("seed", "whole", -1, -1, MAX_SEED, says="-1 draws one; x-seed-value says which."),
        Field("base64", "flag", False, says="Answer with base64 in JSON instead of bytes or a URL."),
    )


def _object(body: bytes | bytearray) -> dict[str, Any]:
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(406, "The body must be JSON in UTF-8; this cannot be read.", "input") from error
    if not isinstance(given, dict):
        raise Refusal(406, "The body must be a JSON object with the fields image and prompt.", "input")
    return given


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _value(field: Field, given: dict[str, Any]) -> Any:
    """The checked value of a field, or its default: for an optional field `null` means that it was not given."""
    value = given.get(field.name, field.default)
    if value is REQUIRED:
        raise _wrong(field, "is missing; it is required.")
    if value is None and field.default is not REQUIRED:
        return field.default
    match field.kind:
        case "text":
            return _text(field, value)
        case "scheduler":
            if not isinstance(value, str) or find_scheduler(value) is None:
                raise _wrong(field, f"must be one of {', '.join(field.choices)}; not {_shown(value)}.")
            return value
        case "choice":
            if isinstance(value, bool) or value not in field.choices:
                options = " or ".join(map(str, field.choices))
                raise _wrong(field, f"must be {options}, not {_shown(value)}.")
            return int(value)
        case "flag":
            if not isinstance(value, bool):
                raise _wrong(field, f"must be true or false, not {_shown(value)}.")
            return value
    return _number(field, value)


def _text(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(field, f"must be text, not {_shown(value)}.")
    if not field.low <= len(value) <= field.high:
        raise _wrong(field, f"must have {field.low:g} to {field.high:g} characters, not {len(value)}.")
    return value


def _number(field: Field, value: Any) -> int | float:
    whole = field.kind == "whole"
    kind = "a whole number" if whole else "a number"
    fits = isinstance(value, int | float) and not isinstance(value, bool) and field.low <= value <= field.high
    # 25.0 is an integer in JSON's eyes.
    if not fits or (whole and value != int(value)):
        raise _wrong(field, f"must be {kind} from {field.low} to {field.high}, not {_shown(value)}.")
    return int(value) if whole else float(value)


def _wrong(field: Field, rest: str) -> Refusal:
    return Refusal(406, f"{field.name} {rest}", "input")


def _shown(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def _field_schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": field.says} if field.says else {}
    null = [] if field.default is REQUIRED else [None]
    if field.kind in ("choice", "scheduler"):
        schema["enum"] = [*field.choices, *null]
    else:
        schema["type"] = [JSON_TYPES[field.kind], "null"] if null else JSON_TYPES[field.kind]
    if field.kind in ("whole", "number"):
        schema |= {"minimum": field.low, "maximum": field.high}
    if field.kind == "text":
        schema["maxLength"] = int(field.high)
    if field.default not in (None, REQUIRED):
        schema["default"] = field.default
    return schema


def _fingerprint(given: dict[str, Any]) -> str:
    stated = {name: value for name, value in given.items() if value is not None}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
