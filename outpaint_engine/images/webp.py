"""WebP: the chunks that hold pixels; see Google's WebP container specification."""

import struct

from ..errors import ImageError
from .essentials import Essentials, exif_orientation, xmp_orientation

__all__ = ["essentials", "is_webp"]

ALPHA_FLAG = 0x10
MOST_CHUNKS = 10_000
PIXELS = (b"ALPH", b"VP8 ", b"VP8L")


def is_webp(content: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def essentials(name: str, content: bytes) -> Essentials:
    """Keep pixels and their alpha; count frames. See `Essentials`.

    Raises:
        ImageError: the end of its pixels is missing.
    """
    found: dict[bytes, bytes] = {}
    frames, chunks, at = 0, 0, 12
    while at + 8 <= len(content) and frames < 2:
        kind, (length,) = content[at : at + 4], struct.unpack_from("<I", content, at + 4)
        data = content[at + 8 : at + 8 + length]
        if len(data) < length and kind in PIXELS:
            # A decoder would take the missing bits for zeros.
            raise ImageError(f"{name} is damaged and cannot be decoded: its end is missing.")
        frames += kind == b"ANMF"
        found.setdefault(kind, data)
        at += 8 + length + length % 2
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise ImageError(f"{name} has more than {MOST_CHUNKS:,} chunks. Save it anew.")
    orientation = exif_orientation(found.get(b"EXIF", b""))
    if b"EXIF" not in found:
        orientation = xmp_orientation(found.get(b"XMP ", b""))
    profile = found.get(b"ICCP")
    if frames:
        return Essentials(content, orientation, profile, frames)
    body = [_chunk(kind, found[kind]) for kind in PIXELS if kind in found]
    if b"ALPH" in found and b"VP8X" in found:
        body.insert(0, _chunk(b"VP8X", bytes([ALPHA_FLAG]) + found[b"VP8X"][1:]))
    inner = b"WEBP" + b"".join(body)
    return Essentials(b"RIFF" + struct.pack("<I", len(inner)) + inner, orientation, profile)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
