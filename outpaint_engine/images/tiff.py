"""TIFF and BigTIFF: the first directory's fields that a decoder needs; see TIFF 6.0 and its supplements."""

import struct

from ..errors import ImageError
from .essentials import Directory, Essentials, directory, orientation_of, xmp_orientation

__all__ = ["SIGNATURES", "essentials"]

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WIDTH, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = 256, 258, 259, 262, 277, 284, 338, 339
REDUCED, XMP, PROFILE = 254, 700, 34675
KEPT = {WIDTH, 257, BITS, COMPRESSION, PHOTOMETRIC, 266, 273, SAMPLES, 278, 279, 292, 293, 317, 320, 322, 323, 324, 325}
KEPT |= {PLANAR, 332, EXTRA, FORMAT, 347, 512, 513, 514, 515, 519, 520, 521, 530, 531, 532}
FORMATS = {1: "whole", 2: "signed", 3: "floating-point", 4: "untyped", 5: "complex", 6: "complex"}
MOST_PAGES = 100
MOST_PROFILE = 16_000_000


def essentials(name: str, content: bytes) -> Essentials:
    """Keep the fields of the first directory that say how its pixels lie. See `Essentials`.

    The new directory takes the place of the old one and has no following one; its fields point to where they did.

    Raises:
        ImageError: there is no directory, or its samples are of a kind that is not read here.
    """
    order, big = ("<" if content[:2] == b"II" else ">"), content[:4] in SIGNATURES[2:]
    at = struct.unpack_from(order + ("Q" if big else "I"), content.ljust(16, b"\0"), 8 if big else 4)[0]
    found = directory(content, at, order, big)
    if found is None or not found.whole:
        raise ImageError(f"{name} is damaged: it is a TIFF without a first picture.")
    bits, inverted = _checked(name, found)
    entries = {tag: entry.raw for tag, entry in found.entries.items() if tag in KEPT}
    if inverted:
        # Decoders that know 16-bit samples know them as light, in both byte orders.
        entries[PHOTOMETRIC] = struct.pack(
            order + ("HHQHHI" if big else "HHIHH"), PHOTOMETRIC, 3, 1, 1, 0, *([0] * big)
        )
    count, pointer = ("Q", "Q") if big else ("H", "I")
    rewritten = struct.pack(order + count, len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    rewritten += struct.pack(order + pointer, 0)
    file = content[:at] + rewritten + content[at + len(rewritten) :]
    xmp = found.entries.get(XMP)
    orientation = orientation_of(found)
    if 274 not in found.entries and xmp:
        orientation = xmp_orientation(content[xmp.where : xmp.where + xmp.number])
    profile = found.entries.get(PROFILE)
    known = content[profile.where : profile.where + min(profile.number, MOST_PROFILE)] if profile else None
    return Essentials(file, orientation, known, _pages(content, at, found, order, big), bits, inverted=inverted)


def _checked(name: str, found: Directory) -> tuple[int, bool]:
    """Bits of a sample, and whether the decoder is to be told that 0 is black where it is white."""

    def value(tag: int, default: int) -> int:
        entry = found.entries.get(tag)
        return entry.values[0] if entry and entry.values else default

    bits, kind, planar = value(BITS, 1), value(FORMAT, 1), value(PLANAR, 1)
    entry = found.entries.get(BITS)
    if entry and len(set(entry.values)) > 1:
        raise ImageError(f"{name} has samples of several sizes: {entry.values} bits. Save it with 8 bits each.")
    if kind != 1 or bits > 16:
        words = FORMATS.get(kind, f"unknown ({kind})")
        raise ImageError(f"{name} has {words} samples of {bits} bits. Save it with whole numbers of 8 or 16 bits.")
    if planar == 2 and bits > 8 and value(SAMPLES, 1) > 1:
        raise ImageError(f"{name} keeps each colour of {bits} bits apart (planar). Save it with its colours together.")
    return bits, value(PHOTOMETRIC, 1) == 0 and bits > 8


def _pages(content: bytes, at: int, found: Directory, order: str, big: bool) -> int:
    """Pictures of their own: neither reduced copies nor masks, up to the first directory that is none."""
    pages, seen = 1, {at}
    while found.following and found.following not in seen and len(seen) < MOST_PAGES:
        seen.add(found.following)
        following = directory(content, found.following, order, big)
        if following is None or not following.whole:
            break
        found = following
        kind = found.entries.get(REDUCED)
        reduced = bool(kind and kind.values and kind.values[0] & 5)
        pages += WIDTH in found.entries and not reduced
    return pages
