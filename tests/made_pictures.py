"""Picture files made at random, each with what must be seen of it, to hold `open_picture` against.

    python -m tests.made_pictures 2000 [SEED]

The files are written here byte by byte, by tifffile or by Pillow's plain encoders; what must be seen is worked out from
the samples that were written (for lossy files from Pillow's reading of the bare file), never by the code under test.
Formats, modes, depths, profiles, EXIF, ancillary data and torn tails are combined at random.
"""

import io
import struct
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from outpaint_engine import ImageError
from outpaint_engine.images import open_picture

Draw = np.random.Generator
D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {
    "srgb": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "p3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
}
"""XYZ of red, green and blue under D50."""
LEVELS = 2
"""By how many of 255 a picture may differ from what must be seen."""


@dataclass(frozen=True)
class Made:
    """A file; `seen` is float (height, width, 3) in levels; `known` bool, None for all; `fate` what must come of it."""

    name: str
    content: bytes
    seen: np.ndarray
    known: np.ndarray | None = None
    fate: str = "right"
    """"right", "refused", "right or refused", or "any" but another exception."""


@dataclass(frozen=True)
class Profile:
    """An ICC profile of a power curve, for grey or for RGB with some primaries."""

    gamma: float
    primaries: str
    size: int = 0

    def content(self, grey: bool) -> bytes:
        curve = b"curv" + struct.pack(">IIH", 0, 1, round(self.gamma * 256)) + b"\0\0"
        tags = {b"wtpt": _xyz(D50), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"desc": _described("made")}
        if grey:
            tags[b"kTRC"] = curve
        else:
            for letter, xyz in zip(b"rgb", PRIMARIES[self.primaries], strict=True):
                tags |= {bytes([letter]) + b"XYZ": _xyz(xyz), bytes([letter]) + b"TRC": curve}
        if self.size:
            tags[b"pads"] = b"data\0\0\0\0\0\0\0\1" + np.random.default_rng(0).bytes(self.size)
        table, body, at = b"", b"", 132 + 12 * len(tags)
        for name, data in tags.items():
            table += struct.pack(">4sII", name, at + len(body), len(data))
            body += data + b"\0" * (-len(data) % 4)
        space = b"GRAY" if grey else b"RGB "
        head = struct.pack(">4xI4s4s4s12x4s28x", 0x02400000, b"mntr", space, b"XYZ ", b"acsp") + _xyz(D50)[8:]
        content = head.ljust(124, b"\0") + struct.pack(">I", len(tags)) + table + body
        return struct.pack(">I", len(content) + 4) + content

    def seen(self, values: np.ndarray) -> np.ndarray:
        """Samples in [0, 1] as sRGB in [0, 1]."""
        light = values**self.gamma
        if values.shape[-1] == 3:
            to_xyz = np.array(PRIMARIES[self.primaries]).T
            light = light @ (np.linalg.inv(np.array(PRIMARIES["srgb"]).T) @ to_xyz).T
        light = light.clip(0, 1)
        return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _xyz(xyz: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in xyz))


def _described(text: str) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text.encode() + bytes(80)


def exif(draw: Draw, orientation: int) -> bytes:
    """An EXIF block of an orientation and a few tags of any type with any value."""
    order = draw.choice(["<", ">"])
    entries = {0x0112: struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)}
    for _ in range(draw.integers(0, 4)):
        tag = int(draw.choice([0x010F, 0x011A, 0x0128, 0x0132, 0x8769, 0x8825, 0x9286, 0xA005, 0xC4A5]))
        entries[tag] = struct.pack(order + "HHI", tag, draw.integers(0, 20), draw.integers(0, 9)) + draw.bytes(4)
    body = b"".join(entries[tag] for tag in sorted(entries))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(entries)) + body + draw.bytes(int(draw.integers(0, 5)))


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """What EXIF's orientation means, by where it says that row 0 and column 0 are."""
    flips = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(array.swapaxes(0, 1) if orientation >= 5 else array, flips)


def samples(draw: Draw, bits: int, channels: int) -> np.ndarray:
    """Smooth colours with noise, whole numbers of some bits, (height, width, channels)."""
    height, width = draw.integers(1, 40, 2)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * draw.uniform(0, 0.4) + y * draw.uniform(0, 0.4) + draw.uniform(0, 6)) for _ in range(channels)]
    values = (np.stack(waves, axis=-1) / 2 + 0.5) ** draw.uniform(0.5, 4)
    values = values + draw.normal(0, 0.02, values.shape)
    return np.rint(values.clip(0, 1) * ((1 << bits) - 1)).astype(np.uint16)


def as_rgb(values: np.ndarray, profile: Profile | None) -> np.ndarray:
    """Samples in [0, 1] of 1 or 3 channels as what must be seen, in levels."""
    seen = profile.seen(values) if profile else values
    return 255 * (np.repeat(seen, 3, axis=-1) if seen.shape[-1] == 1 else seen)


def a_profile(draw: Draw) -> Profile | None:
    if draw.random() < 0.5:
        return None
    size = 1_300_000 if draw.random() < 0.05 else 0
    return Profile(float(draw.choice([1.0, 1.8, 2.2])), str(draw.choice(["srgb", "p3"])), size)


# PNG, by hand


def png_chunk(kind: bytes, data: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(kind + data) ^ (0 if sound else 1)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_rows(draw: Draw, stored: np.ndarray, bits: int) -> bytes:
    """Rows with one of the filters none, sub and up."""
    height, width, channels = stored.shape
    if bits == 16:
        rows = np.frombuffer(stored.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    elif bits == 8:
        rows = stored.astype(np.uint8).reshape(height, -1)
    else:
        digits = np.unpackbits(stored.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
        rows = np.packbits(digits.reshape(height, -1), axis=1)
    step = max(1, channels * bits // 8)
    left, above = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], above[1:] = rows[:, :-step], rows[:-1]
    kinds = draw.integers(0, 3, height)
    filtered = [[rows, rows - left, rows - above][kind][row] for row, kind in enumerate(kinds)]
    return b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(kinds, filtered, strict=True))


def made_png(draw: Draw) -> Made:
    colour = int(draw.choice([0, 2, 3, 4, 6]))
    bits = int(draw.choice({0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}[colour]))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stored, most = samples(draw, bits, channels), (1 << bits) - 1
    profile = a_profile(draw) if colour != 3 else None
    values, known, chunks = stored / most, None, []
    if colour == 3:
        palette = draw.integers(0, 256, (1 << bits, 3))
        chunks.append(png_chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
        values = palette[stored[..., 0]] / 255
        if draw.random() < 0.5:
            alpha = draw.choice([0, 128, 250, 255], 1 << bits)
            chunks.append(png_chunk(b"tRNS", alpha.astype(np.uint8).tobytes()))
            known = alpha[stored[..., 0]] >= 0.95 * 255
    elif colour in (4, 6):
        known = stored[..., -1] >> (bits - 8) >= 243
        values = values[..., :-1]
    elif draw.random() < 0.4:
        key = stored[draw.integers(stored.shape[0]), draw.integers(stored.shape[1])]
        chunks.append(png_chunk(b"tRNS", key.astype(">u2").tobytes()))
        known = (stored != key).any(axis=-1)
    if profile:
        chunks.insert(0, png_chunk(b"iCCP", b"made\0\0" + zlib.compress(profile.content(values.shape[-1] == 1), 1)))
    orientation = int(draw.integers(1, 9)) if draw.random() < 0.4 else 1
    if orientation > 1:
        chunks.append(png_chunk(b"eXIf", exif(draw, orientation)))
    if draw.random() < 0.2:
        chunks.append(png_chunk(b"tEXt", b"Comment\0" + draw.bytes(50), sound=draw.random() < 0.5))
    if draw.random() < 0.05:
        chunks.append(png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000), 1)))
    data = zlib.compress(png_rows(draw, stored, bits))
    cut = int(draw.integers(1, len(data)))
    header = struct.pack(">IIBBBBB", stored.shape[1], stored.shape[0], bits, colour, 0, 0, 0)
    body = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", data[:cut]), png_chunk(b"IDAT", data[cut:])]
    if draw.random() < 0.2:
        body.append(png_chunk(b"tEXt", b"Late\0" + draw.bytes(9), sound=draw.random() < 0.5))
    content = b"\x89PNG\r\n\x1a\n" + b"".join([*body, png_chunk(b"IEND", b"")])
    name = f"PNG colour {colour}, {bits} bits, {profile}, orientation {orientation}"
    seen = upright(as_rgb(values, profile), orientation)
    return Made(name, content, seen, None if known is None else upright(known, orientation))


# TIFF, by tifffile, and by hand where it needs a further library


def made_tiff(draw: Draw) -> Made:
    kind = str(draw.choice(["u1", "u2", "u2", "f4", "i4", "u4", "i2", "f2"]))
    channels = int(draw.choice([1, 1, 3, 4]))
    bits = 16 if kind == "u2" else 8
    stored = samples(draw, bits, channels)
    profile = a_profile(draw)
    grey = channels == 1
    photometric = str(draw.choice(["minisblack", "miniswhite"])) if grey else "rgb"
    options: dict[str, Any] = {
        "photometric": photometric,
        "compression": draw.choice([None, "zlib"]),
        "planarconfig": None if grey else str(draw.choice(["contig", "contig", "separate"])),
        "extrasamples": ["unassalpha"] if channels == 4 else None,
        "rowsperstrip": int(draw.integers(1, 20)),
        "metadata": None,
        "extratags": [],
    }
    if kind == "u2" and options["compression"] and not grey:
        options["predictor"] = None
    orientation = int(draw.integers(1, 9)) if draw.random() < 0.4 else 1
    if orientation > 1:
        options["extratags"].append((274, 3, 1, orientation, True))
    if profile:
        options["iccprofile"] = profile.content(grey)
    array = (stored / 255 if kind[0] == "f" else stored).astype(kind)
    if options["planarconfig"] == "separate":
        array = np.moveaxis(array, -1, 0)
    buffer = io.BytesIO()
    order, big = str(draw.choice(["<", ">"])), draw.random() < 0.2
    with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=big) as writer:
        writer.write(array[..., 0] if grey else array, **options)
    values = stored / ((1 << bits) - 1)
    values = 1 - values if photometric == "miniswhite" else values
    known = stored[..., 3] >> (bits - 8) >= 243 if channels == 4 else None
    seen = as_rgb(values[..., :3], profile)
    planar = options["planarconfig"] == "separate" and bits == 16
    fate = "right" if kind in ("u1", "u2") and not planar else "refused"
    if big and order == ">" and fate == "right":
        fate = "right or refused"  # Pillow reads no BigTIFF of this byte order
    known = None if known is None else upright(known, orientation)
    name = f"TIFF {kind} {photometric} {options['planarconfig']} {options['compression']}, {profile}, {orientation}"
    return Made(name, buffer.getvalue(), upright(seen, orientation), known, fate)


def made_small_tiff(draw: Draw) -> Made:
    """Grey of 1, 2, 4 or 12 bits, either way round."""
    bits, white, big = int(draw.choice([1, 2, 4, 12])), bool(draw.integers(2)), bool(draw.integers(2))
    stored = samples(draw, bits, 1)
    height, width, _ = stored.shape
    digits = np.unpackbits(stored.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=-1)[..., -bits:]
    data = np.packbits(digits.reshape(height, -1), axis=1).tobytes()
    order, mark = (">", b"MM\0*") if big else ("<", b"II*\0")
    fields = [(256, width), (257, height), (258, bits), (259, 1), (262, 0 if white else 1)]
    fields += [(273, 0), (277, 1), (278, height), (279, len(data))]
    where = 8 + 2 + 12 * len(fields) + 4
    entries = [struct.pack(order + "HHII", tag, 4, 1, where if tag == 273 else value) for tag, value in fields]
    content = mark + struct.pack(order + "IH", 8, len(fields)) + b"".join(entries)
    values = stored / ((1 << bits) - 1)
    fate = "right or refused" if bits == 12 else "right"
    name = f"TIFF of {bits} bits, {'white' if white else 'black'} is zero, {order}"
    return Made(
        name, content + struct.pack(order + "I", 0) + data, as_rgb(1 - values if white else values, None), None, fate
    )


# The others, by Pillow


def made_jpeg(draw: Draw) -> Made:
    mode = str(draw.choice(["L", "RGB", "CMYK"]))
    array = samples(draw, 8, len(mode.replace("L", "1"))).astype(np.uint8)
    image = Image.fromarray(array[..., 0] if mode == "L" else array, mode)
    options: dict[str, Any] = {"quality": int(draw.integers(60, 96)), "progressive": bool(draw.integers(2))}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    bare = np.asarray(Image.open(buffer)) / 255
    bare = bare[..., None] if bare.ndim == 2 else bare
    profile = a_profile(draw) if mode != "CMYK" else None
    if mode == "CMYK":
        bare = (1 - bare[..., :3]) * (1 - bare[..., 3:])
    orientation = int(draw.integers(1, 9)) if draw.random() < 0.5 else 1
    segments = []
    if orientation > 1:
        segments.append((0xE1, b"Exif\0\0" + exif(draw, orientation)))
    if profile:
        content = profile.content(mode == "L")
        parts = [content[at : at + 60_000] for at in range(0, len(content), 60_000)]
        segments += [
            (0xE2, b"ICC_PROFILE\0" + bytes([number + 1, len(parts)]) + part) for number, part in enumerate(parts)
        ]
    if draw.random() < 0.2:
        segments.append((int(draw.choice([0xE1, 0xE2, 0xED, 0xFE])), draw.bytes(200)))
    inserted = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    content = buffer.getvalue()
    return Made(
        f"JPEG {mode} {options}, {profile}, orientation {orientation}",
        content[:2] + inserted + content[2:],
        upright(as_rgb(bare, profile), orientation),
    )


def made_webp(draw: Draw) -> Made:
    alpha, lossless = bool(draw.integers(2)), bool(draw.integers(2))
    array = samples(draw, 8, 4 if alpha else 3).astype(np.uint8)
    profile, orientation = a_profile(draw), int(draw.integers(1, 9))
    image = Image.fromarray(array)
    plain, buffer = io.BytesIO(), io.BytesIO()
    image.save(plain, "WEBP", lossless=lossless, exact=True)
    bare = np.asarray(Image.open(plain).convert("RGBA")) / 255
    extra = {"icc_profile": profile.content(False)} if profile else {}
    image.save(buffer, "WEBP", lossless=lossless, exact=True, exif=exif(draw, orientation), **extra)
    seen, known = as_rgb(bare[..., :3], profile), bare[..., 3] * 255 >= 243
    name = f"WebP alpha {alpha}, lossless {lossless}, {profile}, orientation {orientation}"
    return Made(name, buffer.getvalue(), upright(seen, orientation), upright(known, orientation))


def made_gif(draw: Draw) -> Made:
    indices = samples(draw, int(draw.integers(1, 9)), 1)[..., 0].astype(np.uint8)
    palette = draw.integers(0, 256, (256, 3)).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.tobytes())
    buffer, known, options = io.BytesIO(), None, {}
    if draw.random() < 0.5:
        options["transparency"] = int(indices[0, 0])
        known = indices != indices[0, 0]
    image.save(buffer, "GIF", **options)
    return Made(f"GIF {options}", buffer.getvalue(), palette[indices].astype(float), known)


def made_bmp(draw: Draw) -> Made:
    mode = str(draw.choice(["1", "L", "RGB"]))
    array = samples(draw, 1 if mode == "1" else 8, 3 if mode == "RGB" else 1).astype(np.uint8)
    shown = array * (255 if mode == "1" else 1)
    image = Image.fromarray(shown if mode == "RGB" else shown[..., 0]).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return Made(f"BMP {mode}", buffer.getvalue(), as_rgb(shown / 255, None))


# What happens to files


def cut_short(draw: Draw, made: Made) -> Made:
    content = made.content
    at = len(content) - int(draw.integers(1, len(content) if draw.random() < 0.5 else min(40, len(content))))
    fate = "refused" if made.fate == "refused" else "right or refused"
    if content[8:12] == b"WEBP" and at > content.rfind(b"EXIF") - 9:
        fate = "any"  # the orientation is what was cut
    return replace(made, name=f"{made.name}, cut at {at} of {len(content)}", content=content[:at], fate=fate)


def with_junk_after(draw: Draw, made: Made) -> Made:
    return replace(made, name=f"{made.name}, junk after", content=made.content + draw.bytes(int(draw.integers(1, 300))))


def with_a_bad_next_page(draw: Draw, made: Made) -> Made:
    """The offset of the next directory is garbage; in other formats the last byte is missing."""
    content = made.content
    if content[:4] not in (b"II*\0", b"MM\0*"):
        end = {b"\xff\xd8": 2, b"\x89P": 12, b"GI": 1}.get(content[:2], 0)
        return replace(made, name=f"{made.name}, without its end", content=content[: len(content) - end])
    order = "<" if content[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, at)
    where = at + 2 + 12 * count
    junk = struct.pack(order + "I", int(draw.choice([1, 7, len(content) - 1, len(content) + 9, 2**32 - 1])))
    return replace(made, name=f"{made.name}, bad next page", content=content[:where] + junk + content[where + 4 :])


def flipped(draw: Draw, made: Made) -> Made:
    content = bytearray(made.content)
    for _ in range(draw.integers(1, 6)):
        content[draw.integers(len(content))] ^= 1 << draw.integers(8)
    return replace(made, name=f"{made.name}, bits flipped", content=bytes(content), fate="any")


FORMATS: list[Callable[[Draw], Made]] = [
    *[made_png] * 4,
    *[made_tiff] * 3,
    made_small_tiff,
    *[made_jpeg] * 3,
    made_webp,
    made_gif,
    made_bmp,
]
FATES: list[Callable[[Draw, Made], Made]] = [cut_short, with_junk_after, with_a_bad_next_page, flipped]


def made_picture(seed: int) -> Made:
    """The picture of a seed."""
    draw = np.random.default_rng(seed)
    made = FORMATS[draw.integers(len(FORMATS))](draw)
    return FATES[draw.integers(len(FATES))](draw, made) if draw.random() < 0.5 else made


def fault(made: Made) -> str:
    """What is wrong with how a picture is opened; empty if nothing."""
    try:
        picture = open_picture(made.content)
    except ImageError as error:
        return f"was refused: {error}" if made.fate == "right" else ""
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"
    if made.fate == "any":
        return ""
    if made.fate == "refused":
        return "was opened"
    if picture.pixels.shape != made.seen.shape:
        return f"has shape {picture.pixels.shape}, not {made.seen.shape}"
    known = np.ones(picture.pixels.shape[:2], bool) if made.known is None else made.known
    opaque = np.ones_like(known) if picture.opaque is None else picture.opaque
    if not np.array_equal(opaque, known):
        return f"knows {opaque.mean():.1%}, not {known.mean():.1%}"
    off = np.abs(picture.pixels - made.seen)[known]
    return f"is up to {off.max():.1f} levels off" if off.size and off.max() > LEVELS else ""


def fault_through_pil(made: Made) -> str:
    """As `fault`, for the file opened with Pillow; only what is raised counts."""
    try:
        image = Image.open(io.BytesIO(made.content))
    except Exception:
        return ""
    try:
        open_picture(image)
    except ImageError:
        return ""
    except Exception as error:
        return f"as a PIL image raised {type(error).__name__}: {error}"
    return ""


def main(count: int, seed: int) -> int:
    began, faults = time.time(), []
    for number in range(seed, seed + count):
        made = made_picture(number)
        found = fault(made) or fault_through_pil(made)
        if found:
            faults.append(f"{number}: {made.name} {found}")
    print(*faults[:200], sep="\n")
    print(f"{count} pictures, {len(faults)} faults, {time.time() - began:.0f} s")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
