"""GIF: the blocks up to the end of the first picture; see the GIF89a specification."""

import struct

from ..errors import ImageError
from .essentials import Essentials

__all__ = ["SIGNATURES", "essentials"]

SIGNATURES = (b"GIF87a", b"GIF89a")
IMAGE, EXTENSION, TRAILER = 0x2C, 0x21, b";"
CONTROL = 0xF9
MOST_BLOCKS = 10_000


def essentials(name: str, content: bytes) -> Essentials:
    """Keep the screen, the palettes and the first picture; count the whole ones, up to two. See `Essentials`.

    Raises:
        ImageError: there are more than `MOST_BLOCKS`.
    """
    at = 13 + _palette(content[10:11])
    kept, pictures, blocks_seen = [content[:at]], 0, 0
    while at < len(content) and pictures < 2:
        blocks_seen += 1
        if blocks_seen > MOST_BLOCKS:
            raise ImageError(f"{name} has more than {MOST_BLOCKS:,} blocks. Save it anew.")
        begin, kind = at, content[at]
        if kind == IMAGE:
            blocks = at + 11 + _palette(content[at + 9 : at + 10])
        elif kind == EXTENSION:
            blocks = at + 2
        else:
            break
        at, whole = _after(content, blocks)
        if kind == IMAGE:
            pictures += whole
            if len(kept) < 3:
                kept += [content[begin:blocks], _closed(content, blocks)]
        elif len(kept) < 3 and whole and content[begin + 1] == CONTROL:
            kept[0] += content[begin:at]
    return Essentials(b"".join([*kept, TRAILER]), pictures=max(1, pictures))


def _palette(flags: bytes) -> int:
    """Bytes of the palette that follows."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _after(content: bytes, at: int) -> tuple[int, bool]:
    """Where the blocks that begin at an offset end, and whether the last one is there."""
    while at < len(content):
        if content[at] == 0:
            return at + 1, True
        at += 1 + content[at]
    return at, False


def _closed(content: bytes, at: int) -> bytes:
    """The blocks at an offset, the last one cut to what is there of it, and the empty one that ends them."""
    blocks = []
    while at < len(content) and content[at]:
        data = content[at + 1 : at + 1 + content[at]]
        blocks.append(struct.pack("B", len(data)) + data if data else b"")
        at += 1 + content[at]
    return b"".join([*blocks, b"\0"])
