"""PNG: the chunks that hold pixels, with their checksums; see the PNG specification, third edition."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from ..errors import ImageError
from ..tensors import Array
from .essentials import Essentials, check_size, exif_orientation, xmp_orientation

__all__ = ["SIGNATURE", "essentials", "with_samples"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 200_000
MOST_PROFILE = 16_000_000
MOST_TEXT = 10_000_000
KEPT = (b"IHDR", b"PLTE", b"IDAT")


def essentials(name: str, content: bytes) -> Essentials:
    """Keep header, palette, transparency and pixels. See `Essentials`.

    Raises:
        ImageError: a chunk that holds the picture is damaged, or is of a kind that is not PNG's.
    """
    kept = [SIGNATURE]
    header, profile, exif, xmp, transparent, pictures = b"", None, b"", b"", b"", 1
    for kind, data, sound in _chunks(name, content):
        if kind in KEPT:
            if not sound:
                raise ImageError(f"{name} is damaged: the checksum of its {kind.decode()} chunk is wrong.")
            kept.append(_chunk(kind, data))
            if kind == b"IHDR" and len(data) == 13:
                header = data
                check_size(name, *struct.unpack(">II", data[:8]))
        elif kind[0] & 0x20 == 0 and kind != b"IEND":
            raise ImageError(f"{name} is not a usual PNG: it has a {kind.decode('latin-1')!r} chunk. Save it anew.")
        elif not sound:
            continue
        elif kind == b"tRNS":
            transparent = data
            if header[9:10] == b"\3":
                kept.append(_chunk(kind, data))
        elif kind == b"iCCP":
            profile = _inflated(data.partition(b"\0")[2][1:], MOST_PROFILE)
        elif kind == b"eXIf":
            exif = data
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and data[:60].startswith((b"Raw profile type", b"XML:com.adobe.xmp")):
            exif, xmp = exif or _raw_exif(kind, data), xmp or _packet(kind, data)
        elif kind == b"acTL" and len(data) >= 4:
            pictures = max(1, struct.unpack(">I", data[:4])[0])
    content = b"".join([*kept, _chunk(b"IEND", b"")])
    orientation = exif_orientation(exif) if exif else xmp_orientation(xmp)
    bits, key = (header[8] if header else 8), None
    if header[9:10] in (b"\0", b"\2") and len(transparent) == (2 if header[9] == 0 else 6):
        key = tuple(value & (1 << bits) - 1 for value in struct.unpack(f">{len(transparent) // 2}H", transparent))
    return Essentials(content, orientation, profile, pictures, bits, key)


def with_samples(content: bytes, samples: Array, profile: bytes | None) -> bytes:
    """A PNG's text with other pixels: RGB samples, uint8 or uint16 (height, width, 3), and their profile."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, 2, 0, 0, 0)
    rows = np.frombuffer(samples.astype(samples.dtype.newbyteorder(">")).tobytes(), np.uint8).reshape(height, -1)
    # Each row as its difference from the one above: filter 2.
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    text = [_chunk(kind, data) for kind, data, _ in _chunks("The result", content) if kind in (b"tEXt", b"iTXt")]
    colours = [_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile))] if profile else []
    pixels = _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6))
    return b"".join([SIGNATURE, _chunk(b"IHDR", header), *colours, *text, pixels, _chunk(b"IEND", b"")])


def _chunks(name: str, content: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, data and whether the checksum is right, up to the last pixels; a torn chunk has what is there of it."""
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(content):
            return
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        stated = content[at + 8 + length : at + 12 + length]
        # Of a torn chunk of pixels what is there is used: the decoder says whether it suffices.
        torn = len(stated) < 4 and kind == b"IDAT"
        yield kind, data, torn or stated == struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        if kind == b"IEND":
            return
        at += 12 + length
    raise ImageError(f"{name} has more than {MOST_CHUNKS:,} chunks. Save it anew.")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _inflated(data: bytes, most: int) -> bytes | None:
    """Decompressed data; None where it is damaged or too large."""
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, most)
    except zlib.error:
        return None
    return found if inflate.eof else None


def _text(kind: bytes, data: bytes) -> bytes:
    rest = data.partition(b"\0")[2]
    if kind == b"zTXt":
        return _inflated(rest[1:], MOST_TEXT) or b""
    if kind == b"iTXt":
        compressed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        return (_inflated(text, MOST_TEXT) or b"") if compressed else text
    return rest


def _packet(kind: bytes, data: bytes) -> bytes:
    return _text(kind, data) if data.startswith(b"XML:com.adobe.xmp\0") else b""


def _raw_exif(kind: bytes, data: bytes) -> bytes:
    """EXIF as ImageMagick writes it: a line each for name and length, then hexadecimal digits."""
    if not data.startswith((b"Raw profile type exif\0", b"Raw profile type APP1\0")):
        return b""
    try:
        return bytes.fromhex(_text(kind, data).split(b"\n", 3)[3].decode("ascii"))
    except (IndexError, ValueError):
        return b""
