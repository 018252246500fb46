"""JPEG: the segments that hold pixels, up to the end of the first picture; see ITU-T T.81, annex B."""

import re
import struct
from collections.abc import Iterator

from ..errors import ImageError
from .essentials import Essentials, exif_orientation, xmp_orientation

__all__ = ["SIGNATURE", "essentials", "tails"]

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
SCAN, ADOBE, JFIF, APP1, APP2 = 0xDA, 0xEE, 0xE0, 0xE1, 0xE2
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD}
FILL = re.compile(rb"\xff+")
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
MOST_SCANS = 500
"""As many as no encoder writes: about ten are usual, and each costs a pass over the picture."""
MOST_SEGMENTS = 100_000
PROFILE, XMP = b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0"


def essentials(name: str, content: bytes) -> Essentials:
    """Keep tables, frame and scans of the first picture, and how its colours are meant. See `Essentials`.

    Raises:
        ImageError: there is no picture, its last scans are missing, or it has more than `MOST_SCANS`.
    """
    kept, parts, exif, xmp, scans = [b"\xff\xd8"], {}, b"", b"", Scans()
    ended = False
    for marker, data, scan in _segments(content):
        if marker == END[1]:
            ended = True
        elif marker in FRAMES or marker in TABLES or marker == SCAN:
            kept += [struct.pack(">BBH", 0xFF, marker, len(data) + 2), data, scan]
            scans.add(marker, data)
        elif (marker == JFIF and data.startswith(b"JFIF\0")) or (marker == ADOBE and data.startswith(b"Adobe")):
            kept.append(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data)
        elif marker == APP1 and data.startswith(b"Exif\0\0"):
            exif = exif or data
        elif marker == APP1 and data.startswith(XMP):
            xmp = xmp or data
        elif marker == APP2 and data.startswith(PROFILE) and len(data) > 14:
            parts[data[12]] = data[14:]
        if scans.count > MOST_SCANS:
            raise ImageError(f"{name} has more than {MOST_SCANS} scans, where about ten are usual. Save it anew.")
    if not scans.count:
        raise ImageError(f"{name} is damaged: there are no pixels in it.")
    if not ended and not scans.complete:
        raise ImageError(f"{name} is damaged and cannot be decoded: its end is missing.")
    if not ended:
        kept[-1] = kept[-1].rstrip(b"\xff")
    profile = b"".join(parts[number] for number in sorted(parts)) or None
    orientation = exif_orientation(exif) if exif else xmp_orientation(xmp)
    return Essentials(b"".join([*kept, END]), orientation, profile, torn=not ended)


def tails(content: bytes) -> Iterator[bytes]:
    """The file with other bytes after its last ones: pixels that do not change are not made of what is missing."""
    for step in (37, 91):
        yield content[:-2] + bytes(index * step % 251 for index in range(1, 500)) + END


class Scans:
    """How far the scans so far state each coefficient of each component; progressive ones need several."""

    def __init__(self) -> None:
        self.count = 0
        self._components: set[int] = set()
        self._known: set[tuple[int, int]] = set()

    def add(self, marker: int, data: bytes) -> None:
        """Read a frame's or a scan's header."""
        if marker in FRAMES and len(data) > 5:
            self._components = set(data[6 : 6 + 3 * data[5] : 3])
        if marker != SCAN or len(data) < 4:
            return
        self.count += 1
        first, last, low = data[-3], data[-2], data[-1] & 15
        if low == 0:
            inside = set(data[1 : 1 + 2 * data[0] : 2])
            self._known |= {(component, index) for component in inside for index in range(first, min(last, 63) + 1)}

    @property
    def complete(self) -> bool:
        """Whether every coefficient is known to its last bit."""
        return bool(self._components) and len(self._known) >= 64 * len(self._components)


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, data, and for a scan the coded pixels after it, up to the end of the first picture."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        if at + 2 > len(content):
            return
        if content[at] != 0xFF:
            found = NEXT_MARKER.search(content, at)
            if found is None:
                return
            at = found.start()
        marker = content[at + 1]
        if marker == 0xFF:
            fill = FILL.match(content, at)
            at = fill.end() - 1 if fill else at + 1
            continue
        if marker == END[1]:
            yield marker, b"", b""
            return
        if marker <= 1 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if at + 4 > len(content):
            return
        (length,) = struct.unpack_from(">H", content, at + 2)
        data, at = content[at + 4 : at + 2 + length], at + 2 + length
        if length < 2 or len(data) < length - 2:
            return
        scan = b""
        if marker == SCAN:
            found = NEXT_MARKER.search(content, at)
            end = found.start() if found else len(content)
            scan, at = content[at:end], end
        yield marker, data, scan
