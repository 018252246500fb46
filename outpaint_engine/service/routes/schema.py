"""What is sent, as a pydantic model: its validation and its OpenAPI schema are one thing.

Names, ranges and defaults of the body are those of Segmind's page for sd1.5-outpaint, from the configuration.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    create_model,
)
from pydantic.json_schema import GenerateJsonSchema

from ...errors import RequestError
from ...request import MAX_SEED
from ...samplers import find_scheduler, scheduler_names
from ..configuration import Configuration
from ..pictures.decoding import Decoded, Mask
from ..pictures.intake import picture_from
from ..queue.orders import Order
from ..refusals import InputRefused
from .placing import settled

__all__ = ["EXAMPLE", "IDEMPOTENCY", "Asked", "Contract", "json_object"]

RENAMED = {"img_width": "width", "img_height": "height"}
EXAMPLE = {
    # 32x32 pixels of one blue.
    "image": (
        "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAK0lEQVR42u3NQQEAQAQAMC6mJOKIeiX4"
        "bQWW1ROXXhwTCAQCgUAgEAgEWz4UUwGyVbqoHAAAAABJRU5ErkJggg=="
    ),
    "prompt": "sunset mountains",
    "scale": 2,
}

IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "A repeated request with the same key gets the first one's answer and is charged once.",
}


@dataclass(frozen=True)
class Asked:
    """What a body asks for; `fingerprint` is equal for equal requests, however they are spaced."""

    order: Order
    fingerprint: str
    mask: Mask | None = None
    count: int = 1
    """How many pictures, each a job of its own."""
    place: Callable[[Order, Decoded], Order] | None = None
    """Where the placement follows from the picture's size: the order with it."""


class Contract:
    """The body of both POSTs: `fields` are its properties, `sent` its whole JSON schema, `document` OpenAPI's."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._model = _body_model(configuration)
        self.sent = self._model.model_json_schema(schema_generator=_Untitled)
        self.fields: Mapping[str, Any] = self.sent["properties"]
        optional = self.fields.keys() - set(self.sent["required"])
        nullable = {name: _or_null(schema) if name in optional else schema for name, schema in self.fields.items()}
        self.sent = self.sent | {"properties": nullable}
        content = {"application/json": {"schema": self.sent}}
        self.document = {"requestBody": {"required": True, "content": content}, "parameters": [IDEMPOTENCY]}

    def read(self, body: bytes | bytearray) -> Asked:
        """Read a body.

        Raises:
            Refusal: the sentence names the field, what it must be and what it was.
        """
        # For an optional field `null` means that it was not given.
        given = {name: value for name, value in json_object(body, "image and prompt").items() if value is not None}
        fields = {RENAMED.get(name, name): value for name, value in self._checked(given).items()}
        limits, wants_base64 = self._configuration, fields.pop("base64")
        picture = picture_from(fields.pop("image"), limits)
        fields = settled(limits, fields)
        order = Order(picture.content, fields, wants_base64)
        try:
            width, height = order.request().placement.scaled(picture.size)
        except RequestError as error:
            raise InputRefused(sentence=error) from error
        if width * height > limits.max_pixels or max(width, height) > limits.max_side:
            raise InputRefused(
                sentence=f"scale {fields['scale']:g} would make the picture {width}x{height}; at most "
                f"{limits.max_pixels:,} pixels and {limits.max_side:,} a side are taken. Use a smaller scale."
            )
        return Asked(order, hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest())

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._model(**given).model_dump()
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            name = str(fault["loc"][0])
            if fault["type"] == "missing":
                raise InputRefused(sentence=f"{name} is missing; it is required.") from None
            expected, value = _expected(self.fields[name]), fault["input"]
            found = f"{len(value)} characters" if fault["type"].startswith("string_too") else _shown(value)
            raise InputRefused(sentence=f"{name} must be {expected}, not {found}.") from None


class _Untitled(GenerateJsonSchema):
    """Without the titles that repeat each field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    types = {"type": [schema["type"], "null"]} if "type" in schema else {}
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | types | choices


def json_object(body: bytes | bytearray, fields: str) -> dict[str, Any]:
    """A body that is one JSON object; `fields` is what it should have, in words.

    Raises:
        InputRefused: it is not.
    """
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputRefused(sentence="The body must be JSON in UTF-8; this cannot be read.") from error
    if not isinstance(given, dict):
        raise InputRefused(sentence=f"The body must be a JSON object with the fields {fields}.")
    return given


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _text(most: int, says: str, least: int = 0) -> Any:
    return Annotated[str, Strict(), Field(min_length=least, max_length=most, description=says)]


def _whole(low: int, high: int, says: str | None = None) -> Any:
    return Annotated[int, Strict(), Field(ge=low, le=high, description=says), BeforeValidator(_without_point)]


def _number(limits: tuple[float, float], says: str | None = None) -> Any:
    return Annotated[float, Strict(), Field(ge=limits[0], le=limits[1], description=says)]


def _one_of(kind: type, choices: Sequence[Any], says: str, known: Callable[[Any], bool]) -> Any:
    """One of `choices`, or what is `known` beside them."""

    def check(value: Any) -> Any:
        if not known(value):
            raise ValueError("not one of them")
        return value

    shown = Field(description=says, json_schema_extra={"enum": list(choices)})
    return Annotated[kind, Strict(), shown, AfterValidator(check), BeforeValidator(_without_point)]


def _without_point(value: Any) -> Any:
    # 25.0 is an integer in JSON's eyes.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _body_model(c: Configuration) -> type[BaseModel]:
    """The model of a body within these limits; what it does not know is ignored, as Segmind does."""
    side = _one_of(int, c.canvas_sides, "Canvas side in pixels.", c.canvas_sides.__contains__)
    names = list(scheduler_names())
    sampler = _one_of(str, names, "The sampler; usual aliases are taken too.", lambda name: bool(find_scheduler(name)))
    by_url = ", or its http or https address" * c.url_images
    fields: dict[str, Any] = {
        "image": _text(c.max_body_bytes, f"Base64 or a data URL of a PNG, JPEG or WebP{by_url}.", 1),
        "prompt": _text(c.max_prompt, "What the whole picture shows."),
        "negative_prompt": (_text(c.max_prompt, "What it should not show; NONE means nothing."), None),
        "scheduler": (sampler, "DDIM"),
        "num_inference_steps": (_whole(*c.steps), c.steps_default),
        "img_width": (side, c.canvas_default),
        "img_height": (side, c.canvas_default),
        "scale": (_number(c.scale, "Factor on the picture's own pixels."), 0.2),
        "strength": (_number(c.strength), 1.0),
        "offset_x": (_whole(0, c.max_offset, "The picture's left edge on the canvas."), 1),
        "offset_y": (_whole(0, c.max_offset, "The picture's top edge on the canvas."), 1),
        "guidance_scale": (_number(c.guidance_scale), 7.5),
        "mask_expand": (_whole(0, c.max_mask_expand, "Pixels of the border that are painted anew."), 8),
        "seed": (_whole(-1, MAX_SEED, "-1 draws one; x-seed-value says which."), -1),
        "base64": (Annotated[bool, Strict(), Field(description="Answer with base64 in JSON, no bytes or URL.")], False),
    }
    extra: dict[str, Any] = {"example": EXAMPLE}
    return create_model("Body", __config__=ConfigDict(extra="ignore", json_schema_extra=extra), **fields)


def _expected(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"enum": [*choices]}:
            shown = " or ".join(filter(None, (", ".join(map(str, choices[:-1])), str(choices[-1]))))
            return f"one of {shown}" if len(choices) > 2 else shown
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "string"}:
            return f"text of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    return f"{kind} from {schema['minimum']} to {schema['maximum']}"


def _shown(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
