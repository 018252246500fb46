"""The wire format of protocol buffers, as far as an ONNX file needs it to be read and put together again.

https://protobuf.dev/programming-guides/encoding/; the runtime has no other use for the packages protobuf and onnx.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Field", "encode", "fields"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message: its number, its value, a whole number or bytes, and the whole of it as written."""

    number: int
    value: "int | memoryview"
    raw: memoryview

    @property
    def message(self) -> memoryview:
        """The bytes of a value that is a message, a text or a float32.

        Raises:
            ValueError: it is a whole number.
        """
        if isinstance(self.value, int):
            raise ValueError(f"field {self.number} is a number")
        return self.value

    @property
    def text(self) -> str:
        """The value as text."""
        return str(self.message, "utf-8")


def fields(message: "bytes | memoryview") -> Iterator[Field]:
    """The fields of a message in their order; nothing is copied.

    Raises:
        ValueError: it is not a message, or ends within a field.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        start = at
        key, at = _read_varint(view, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _read_varint(view, at)
            yield Field(key >> 3, value, view[start:at])
            continue
        if kind == LENGTH:
            size, at = _read_varint(view, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if at + size > len(view):
            raise ValueError(f"the field at byte {start} ends after the message")
        yield Field(key >> 3, view[at : at + size], view[start : at + size])
        at += size


def encode(number: int, value: "int | float | str | bytes") -> bytes:
    """One field: a whole number that is not negative, a float32, a text, or the bytes of a message."""
    if isinstance(value, int):
        return _varint(number << 3 | VARINT) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | FIXED32) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view):
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("a number is cut off")
