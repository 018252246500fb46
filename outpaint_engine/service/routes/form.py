"""Forms with files (multipart/form-data, RFC 7578), read from a body that is already within its limits."""

from collections import defaultdict
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import BaseModel
from python_multipart import create_form_parser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from ..refusals import InputRefused
from .caller import Sent
from .fields import refused
from .schema import IDEMPOTENCY

__all__ = ["Form", "form_document", "read_form"]

MAX_PARTS = 100
UNREADABLE = "The body must be multipart/form-data with the boundary that its header names; this cannot be read."


class Form(NamedTuple):
    """The text fields, and the content of each file by its field's name."""

    fields: dict[str, str]
    files: dict[str, list[bytes]]

    def pictures(self, required: str, *optional: str) -> dict[str, bytes]:
        """The one file of each name.

        Raises:
            InputRefused: the required one is missing, one is text or was sent twice, or there are files of other names.
        """
        for name in (required, *optional):
            if name in self.fields:
                raise refused(name, "must be a file, not text.")
        for name, sent in self.files.items():
            if name not in (required, *optional):
                raise refused(name, "cannot be honoured here: leave it out.")
            if len(sent) > 1:
                raise refused(name, f"was sent {len(sent)} times; one picture is taken.")
        if required not in self.files:
            raise refused(required, "is missing; it is required.")
        return {name: sent[0] for name, sent in self.files.items()}

    @property
    def fingerprint(self) -> str:
        """Equal for equal forms, whatever their boundary."""
        files = sorted((name, sha256(one).hexdigest()) for name, sent in self.files.items() for one in sent)
        return sha256(repr((sorted(self.fields.items()), files)).encode()).hexdigest()


def form_document(fields: type[BaseModel], required: str, *optional: str) -> dict[str, Any]:
    """Such a form in an OpenAPI document: the model's text fields, and files."""
    schema = fields.model_json_schema()
    schema["properties"] |= dict.fromkeys((required, *optional), {"type": "string", "format": "binary"})
    schema["required"] = [*schema.get("required", ()), required]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [IDEMPOTENCY]}


def read_form(sent: Sent) -> Form:
    """Read a form; a field named `image[]` is `image`.

    Raises:
        InputRefused: it cannot be read, has too many parts, or a text field twice.
    """
    texts: dict[str, str] = {}
    files: defaultdict[str, list[bytes]] = defaultdict(list)

    def text(field: Field) -> None:
        name = _text(field.field_name)
        if name in texts:
            raise refused(name, "was sent twice.")
        texts[name] = _text(field.value)

    def file(part: File) -> None:
        part.file_object.seek(0)
        files[_text(part.field_name)].append(part.file_object.read())

    # A file never goes to disk: the body, which is limited, is in memory already.
    limits: dict[Any, Any] = {"MAX_FIELDS": MAX_PARTS, "MAX_MEMORY_FILE_SIZE": float("inf")}
    try:
        parser = create_form_parser({"Content-Type": sent.content_type.encode("latin-1")}, text, file, limits)
        parser.write(bytes(sent.body))
        parser.finalize()
        parser.close()
    except (FormParserError, ValueError) as error:
        raise InputRefused(sentence=UNREADABLE) from error
    return Form(texts, dict(files))


def _text(value: bytes | None) -> str:
    try:
        return (value or b"").decode().removesuffix("[]")
    except UnicodeDecodeError as error:
        raise InputRefused(sentence="A text field must be in UTF-8.") from error
