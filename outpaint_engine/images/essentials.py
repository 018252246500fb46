"""What of a picture file decides about the picture, taken out of the file before a decoder sees it.

Text, thumbnails, maker's notes, checksums of such, second pictures and torn tails break decoders, and say nothing
about the pixels. Each reader here (`png`, `jpeg`, `gif`, `webp`, `tiff`) walks its format's blocks without decoding
and keeps those that a decoder needs, the colour profile and the orientation.
"""

import re
import struct
from typing import NamedTuple

from ..errors import ImageError

__all__ = [
    "MAX_PIXELS",
    "Directory",
    "Entry",
    "Essentials",
    "check_size",
    "directory",
    "exif_orientation",
    "orientation_of",
    "xmp_orientation",
]

MAX_PIXELS = 50_000_000

ORIENTATION = 0x0112
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by TIFF's field type."""
WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Field types of whole numbers, as `struct` names them."""
MOST_VALUES = 1000
XMP = re.compile(rb"tiff:Orientation(?:=\"|=\'|>)([1-8])")


class Essentials(NamedTuple):
    """A file of one picture and nothing else, and what was taken out of it.

    `pictures` counts whole pictures (pages, frames). `key` is the transparent colour in samples of `bits` bits.
    `inverted`: 0 is white. `torn`: the end of the file is missing, so the last pixels must be checked.
    """

    content: bytes
    orientation: int = 1
    profile: bytes | None = None
    pictures: int = 1
    bits: int = 8
    key: tuple[int, ...] | None = None
    inverted: bool = False
    torn: bool = False


class Entry(NamedTuple):
    """One field of a TIFF directory: its bytes there, type, number of values, and these if they are whole numbers."""

    raw: bytes
    kind: int
    number: int
    where: int
    """Where its value lies in the file."""
    values: tuple[int, ...]


class Directory(NamedTuple):
    """A TIFF directory: its fields by tag, the offset of the next one, and whether it is all there."""

    entries: dict[int, Entry]
    following: int
    whole: bool


def check_size(name: str, width: int, height: int) -> None:
    """Check that a picture has pixels, and not too many.

    Raises:
        ImageError: it has none, or more than `MAX_PIXELS`.
    """
    if not width or not height:
        raise ImageError(f"{name} is {width}x{height}: it has no pixels.")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} is {width}x{height}: more than {MAX_PIXELS:,} pixels. Make it smaller first.")


def directory(data: bytes, at: int, order: str, big: bool = False) -> Directory | None:
    """The directory at an offset; None where there is none. `order` is "<" or ">"; `big` is for BigTIFF."""
    count_code, code, size = ("Q", "HHQQ", 20) if big else ("H", "HHII", 12)
    start = at + struct.calcsize("<" + count_code)
    if at < 8 or start > len(data):
        return None
    (count,) = struct.unpack_from(order + count_code, data, at)
    if not 0 < count <= 10_000:
        return None
    whole = start + count * size <= len(data)
    count = min(count, (len(data) - start) // size)
    entries: dict[int, Entry] = {}
    for index in range(count):
        here = start + index * size
        tag, kind, number, offset = struct.unpack_from(order + code, data, here)
        inline = SIZES.get(kind, 1) * number <= size - (12 if big else 8)
        where = here + (12 if big else 8) if inline else offset
        entries.setdefault(
            tag, Entry(data[here : here + size], kind, number, where, _values(data, order, kind, number, where))
        )
    pointer, end = ("Q", 8) if big else ("I", 4)
    last = start + count * size
    (following,) = struct.unpack_from(order + pointer, data, last) if last + end <= len(data) else (0,)
    return Directory(entries, following, whole)


def _values(data: bytes, order: str, kind: int, count: int, where: int) -> tuple[int, ...]:
    code = f"{order}{min(count, MOST_VALUES)}{WHOLE.get(kind, 'B')}"
    if kind not in WHOLE or where + struct.calcsize(code) > len(data):
        return ()
    return struct.unpack_from(code, data, where)


def exif_orientation(exif: bytes) -> int:
    """The orientation that an EXIF block states, read without anything else in it; 1 where it states none."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    found = directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
    return orientation_of(found) if found else 1


def orientation_of(found: Directory) -> int:
    """The orientation that a directory states, 1 to 8."""
    entry = found.entries.get(ORIENTATION)
    return entry.values[0] if entry and entry.values and 1 <= entry.values[0] <= 8 else 1


def xmp_orientation(xmp: bytes) -> int:
    """The orientation that an XMP packet states, which counts where EXIF states none."""
    found = XMP.search(xmp[:10_000_000])
    return int(found[1]) if found else 1
