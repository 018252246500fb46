"""A picture from a stranger: base64, data URL or address to checked bytes of a picture file.

Each limit is checked before the work that it bounds: the text's length before decoding it, the header's size
before decoding pixels. Only the three formats' own parsers are ever started.
"""

import base64
import binascii
import re
from typing import NamedTuple
from urllib.parse import unquote

from ...errors import ImageError
from ...images import header
from ..configuration import Configuration
from ..refusals import InputRefused, TooLarge
from .fetch import FetchLimits, TooManyBytes, fetch_image

__all__ = ["SentPicture", "checked_picture", "picture_from"]

DATA_URL = re.compile(r"data:(image/[a-z0-9+.-]{1,40})?(;[^;,]{1,200}){0,8}?;base64,", re.IGNORECASE)
"""With any parameters, as in `data:image/png;name=photo.png;base64,`."""
URL_SAFE = str.maketrans("-_", "+/")
FORMATS = ("PNG", "JPEG", "WEBP")


class SentPicture(NamedTuple):
    """The file's bytes, and its width and height as its header says."""

    content: bytes
    size: tuple[int, int]


def picture_from(image: str, configuration: Configuration, name: str = "image") -> SentPicture:
    """Read the field `name`, which is base64, a data URL or an address.

    Raises:
        Refusal: too many bytes, or anything that is no single PNG, JPEG or WebP picture.
    """
    if re.match(r"https?://", image, re.IGNORECASE):
        if not configuration.url_images:
            raise _refused(name, "is an address, and this server takes no pictures by URL: send base64 or a data URL.")
        content = _fetched(image, configuration.max_image_bytes)
    else:
        content = _decoded(image, configuration.max_image_bytes, name)
    return checked_picture(content, configuration, name)


def checked_picture(content: bytes, configuration: Configuration, name: str = "image") -> SentPicture:
    """The same for the bytes of a file that was sent as `name`.

    Raises:
        Refusal: as `picture_from`.
    """
    if len(content) > configuration.max_image_bytes:
        raise _too_large(configuration.max_image_bytes, name)
    return SentPicture(content, _checked_size(content, configuration, name))


def _fetched(url: str, limit: int) -> bytes:
    try:
        return fetch_image(url, FetchLimits(max_bytes=limit))
    except TooManyBytes as error:
        raise _too_large(limit) from error
    except ImageError as error:
        raise InputRefused(sentence=error) from error


def _decoded(image: str, limit: int, name: str) -> bytes:
    prefix = DATA_URL.match(image, 0, 2000)
    start = prefix.end() if prefix else 0
    # Line breaks are common in base64; three in a hundred characters is more than any encoder writes.
    if len(image) - start > limit * 4 // 3 * 103 // 100 + 4:
        raise _too_large(limit, name)
    text = "".join(image[start:].split())
    if prefix and "%" in text:
        text = unquote(text)
    text = text.translate(URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(name, "must be base64 or a data URL (data:image/png;base64,...); this is neither.") from error


def _checked_size(content: bytes, limits: Configuration, name: str) -> tuple[int, int]:
    if not _looks_right(content):
        raise _refused(name, f"must be a picture in one of these formats: {', '.join(FORMATS)}.")
    try:
        size, pictures = header(name, content)
    except ImageError as error:
        raise InputRefused(sentence=error, field=name) from error
    if size[0] * size[1] > limits.max_pixels:
        raise _refused(
            name,
            f"is {size[0]}x{size[1]}; at most {limits.max_pixels:,} pixels are taken. Make it smaller first.",
        )
    if max(size) > limits.max_side:
        raise _refused(
            name, f"is {size[0]}x{size[1]}; no side may have more than {limits.max_side:,} pixels. Crop it first."
        )
    if pictures > 1:
        raise _refused(name, "is animated; send a single picture.")
    if (scans := _scans(content)) > limits.max_scans:
        raise _refused(name, f"is a JPEG of {scans} scans; at most {limits.max_scans} are taken. Save it anew.")
    return size


def _scans(content: bytes) -> int:
    """How many times a JPEG runs over its pixels: each costs as much as another picture, and few bytes.

    ITU-T T.81, annex B: 0xFF in coded data is always followed by 0 or a restart marker, so 0xFFDA begins a scan and
    0xFFD9 ends the picture. Segments before the first scan have a length and are stepped over: a thumbnail is inside.
    """
    if not content.startswith(b"\xff\xd8"):
        return 0
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    end = content.find(b"\xff\xd9", place)
    return content.count(b"\xff\xda", place, len(content) if end < 0 else end)


def _looks_right(content: bytes) -> bool:
    png, jpeg = content.startswith(b"\x89PNG\r\n\x1a\n"), content.startswith(b"\xff\xd8\xff")
    return png or jpeg or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def _refused(name: str, rest: str) -> InputRefused:
    return InputRefused(sentence=f"{name} {rest}", field=name)


def _too_large(limit: int, name: str = "image") -> TooLarge:
    return TooLarge(what=name, limit=limit, field=name)
