"""Leaves out of a CUDA library what one kind of GPU never runs: zeros compress to nothing, and offsets stay true.

`.nv_fatbin` holds containers of entries, one for each architecture that a kernel was compiled for. Layout: the
container's magic, header and length, then for each entry its kind, the lengths of its header and content, and its
architecture at byte 28.
"""

import struct
from pathlib import Path

__all__ = ["keep_architecture"]

SECTION, MAGIC = ".nv_fatbin", 0xBA55ED50
ARCHITECTURE_AT = 28
LARGE = 100_000
"""Bytes of a kernel for one architecture alone: the products of mixtures of experts, which no model here has."""


def keep_architecture(library: Path, architecture: int, out: Path) -> tuple[int, int]:
    """Write `library` with the code for `architecture` (90 for sm_90) alone to `out`; bytes kept and bytes zeroed."""
    data = bytearray(library.read_bytes())
    begin, length = _section(data, SECTION)
    kept, zeroed, at = 0, 0, begin
    while at < begin + length:
        if struct.unpack_from("<I", data, at)[0] != MAGIC:
            at += 8
            continue
        header, content = struct.unpack_from("<HQ", data, at + 6)
        end = at + header + content
        entries = _entries(data, at + header, end)
        alone = {each for _, _, each in entries} == {architecture}
        for start, size, each in entries:
            if each == architecture and not (alone and size > LARGE):
                kept += size
                continue
            data[start : start + size] = bytes(size)
            zeroed += size
        at = end
    out.write_bytes(data)
    return kept, zeroed


def _entries(data: bytearray, at: int, end: int) -> list[tuple[int, int, int]]:
    """Where the code of each entry begins, its length and its architecture."""
    found = []
    while at < end:
        header, size = struct.unpack_from("<IQ", data, at + 4)
        found.append((at + header, size, struct.unpack_from("<I", data, at + ARCHITECTURE_AT)[0]))
        at += header + size
    return found


def _section(data: bytearray, name: str) -> tuple[int, int]:
    """Where a section of an ELF file (64 bits, little-endian) lies, and its length."""
    table = struct.unpack_from("<Q", data, 0x28)[0]
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", data, table + number * size) for number in range(count)]
    texts = sections[names][4]
    for section in sections:
        start = texts + section[0]
        if bytes(data[start : data.index(b"\0", start)]).decode() == name:
            return section[4], section[5]
    raise SystemExit(f"The library has no section {name}.")
