"""Opening what cannot be trusted: converted where it can be, refused with one sentence where it cannot."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from outpaint_engine import ImageError, OutputError, Placement, plan
from outpaint_engine.images import (
    Original,
    Provenance,
    encode_original,
    open_original,
    open_picture,
    opening,
    read_limited,
    with_original,
    write_all,
)

from ...made_pictures import Profile, fault, fault_through_pil, made_picture


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A valid header of 20,000 x 20,000 pixels and hardly any data."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8))
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
REFUSED = {
    "text": (b"this is not a picture at all", "not a picture"),
    "empty": (b"", "not a picture"),
    "truncated": (file_of(PHOTO, "PNG")[:400], "damaged"),
    "truncated jpeg": (file_of(PHOTO, "JPEG")[:400], "damaged"),
    "huge": (huge_png(), "more than 50,000,000 pixels"),
    "animated": (file_of(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "animated"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not a picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_usable_picture_is_refused_in_one_sentence(name: str) -> None:
    content, words = REFUSED[name]
    with pytest.raises(ImageError, match=words):
        open_picture(content)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ImageError, match="nowhere.png cannot be read: No such file"):
        open_picture("nowhere.png")


@pytest.mark.parametrize("value", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 7, None])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ImageError):
        open_picture(value)


CONVERTED = {
    "RGB": PHOTO,
    "L": PHOTO.convert("L"),
    "P": PHOTO.convert("P"),
    "CMYK": PHOTO.convert("CMYK"),
    "1": PHOTO.convert("1"),
    "I;16": Image.fromarray(np.full((24, 32), 0x8000, np.uint16)),
}


@pytest.mark.parametrize("mode", CONVERTED)
def test_other_colour_modes_become_rgb(mode: str) -> None:
    image = CONVERTED[mode]
    opened = open_picture(file_of(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG"))
    assert opened.pixels.shape == (24, 32, 3)
    assert opened.opaque is None


def test_sixteen_bits_keep_their_brightness() -> None:
    assert (open_picture(file_of(CONVERTED["I;16"], "TIFF")).pixels == 0x80).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_unknown(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    opened = open_picture(file_of(image.convert(mode), "PNG"))
    assert opened.opaque is not None
    assert not opened.opaque[:, :4].any() and opened.opaque[:, 4:].all()


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    assert open_picture(file_of(PHOTO, "JPEG", exif=exif)).size == (24, 32)


def test_an_icc_profile_is_converted_to_srgb() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gamma = struct.pack(">i", round(2.4 * 65536))
    assert gamma in srgb
    brighter = srgb.replace(gamma, struct.pack(">i", round(1.2 * 65536)))
    grey = Image.new("RGB", (8, 8), (64, 64, 64))
    assert np.abs(open_picture(file_of(grey, "PNG", icc_profile=srgb)).pixels.astype(int) - 64).max() <= 1
    # The same values mean more light under a curve of half the exponent.
    assert open_picture(file_of(grey, "PNG", icc_profile=brighter)).pixels.min() > 100


def test_a_profile_that_does_not_fit_is_ignored() -> None:
    assert np.array_equal(open_picture(file_of(PHOTO, "PNG", icc_profile=b"nonsense")).pixels, np.asarray(PHOTO))


def test_paths_bytes_pil_and_arrays_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    PHOTO.save(path)
    for source in (path, str(path), path.read_bytes(), PHOTO, np.asarray(PHOTO)):
        assert np.array_equal(open_picture(source).pixels, np.asarray(PHOTO))


def test_a_phones_jpeg_with_a_second_picture_opens_as_its_photo() -> None:
    double = file_of(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)])
    with Image.open(io.BytesIO(double)) as image:
        assert image.format == "MPO"
    assert open_picture(double).size == PHOTO.size


def test_a_broken_pil_image_is_refused_too() -> None:
    with Image.open(io.BytesIO(file_of(PHOTO, "PNG")[:400])) as image, pytest.raises(ImageError, match="damaged"):
        open_picture(image)


def test_hidden_colours_do_not_reach_kept_pixels_when_resized() -> None:
    pixels = np.full((64, 64, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, :32] = 0
    half = open_picture(pixels).resized((32, 32))
    assert half.opaque is not None and half.opaque.any()
    assert (half.pixels[half.opaque] == 200).all()


def chunk(kind: bytes, data: bytes, flip: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ flip)


def png_with(*chunks: bytes, at: int = 33) -> bytes:
    """The photo with chunks after its header."""
    content = file_of(PHOTO, "PNG")
    return content[:at] + b"".join(chunks) + content[at:]


def tiff_of(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def with_following_directory(tiff: bytes, offset: int) -> bytes:
    """A little-endian TIFF whose first directory says that another one is at `offset`."""
    (at,) = struct.unpack_from("<I", tiff, 4)
    where = at + 2 + 12 * struct.unpack_from("<H", tiff, at)[0]
    return tiff[:where] + struct.pack("<I", offset) + tiff[where + 4 :]


def same_as_photo(content: bytes) -> bool:
    return np.array_equal(open_picture(content).pixels, np.asarray(PHOTO))


@pytest.mark.parametrize(("alpha", "known"), [(255, True), (254, True), (243, True), (242, False), (0, False)])
def test_what_is_nearly_opaque_is_known(alpha: int, known: bool) -> None:
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[0, 0, 3] = alpha
    for source in (pixels, file_of(Image.fromarray(pixels), "PNG")):
        assert (open_picture(source).opaque is None) == known


UNSETTLED = {
    "floating-point TIFF": (tiff_of(np.full((8, 8), 0.5, np.float32)), "floating-point samples of 32 bits"),
    "compressed float TIFF": (tiff_of(np.ones((8, 8), "f4"), compression="zlib"), "floating-point samples of 32 bits"),
    "half-float TIFF": (tiff_of(np.ones((8, 8), "f2")), "floating-point samples of 16 bits"),
    "int32 TIFF": (tiff_of(np.ones((8, 8), "i4")), "signed samples of 32 bits"),
    "uint32 TIFF": (tiff_of(np.ones((8, 8), "u4")), "whole samples of 32 bits"),
    "int16 TIFF": (tiff_of(np.ones((8, 8), "i2")), "signed samples of 16 bits"),
    "int8 TIFF": (tiff_of(np.ones((8, 8), "i1")), "signed samples of 8 bits"),
    "planar 16 bits": (
        tiff_of(np.ones((3, 8, 8), "u2"), photometric="rgb", planarconfig="separate"),
        "keeps each colour of 16 bits apart",
    ),
    "PIL mode F": (Image.fromarray(np.full((8, 8), 0.5, np.float32)), "PIL's mode F"),
    "PIL mode I": (Image.fromarray(np.full((8, 8), 300, np.int32)), "PIL's mode I"),
    "PIL mode LAB": (Image.new("LAB", (8, 8)), "PIL's mode LAB"),
    "float array": (np.ones((8, 8, 3)), "must be uint8"),
    "int32 array": (np.ones((8, 8, 3), np.int32), "must be uint8"),
}


@pytest.mark.parametrize("name", UNSETTLED)
def test_samples_whose_brightness_is_not_settled_are_refused_by_name(name: str) -> None:
    source, words = UNSETTLED[name]
    with pytest.raises(ImageError, match=words):
        open_picture(source)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bits_with_white_as_zero_are_turned_round(order: str, compression: str | None) -> None:
    stored = np.linspace(0, 65535, 64).reshape(8, 8).astype("u2")
    options = {"photometric": "miniswhite", "byteorder": order, "compression": compression}
    seen = open_picture(tiff_of(stored, **options)).pixels[..., 0]
    assert np.abs(seen - (65535 - stored) / 257.0).max() <= 1


def test_every_page_but_a_reduced_copy_is_a_picture_of_its_own() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(np.asarray(PHOTO), metadata=None)
        writer.write(np.asarray(PHOTO)[::2, ::2], metadata=None, subfiletype=1)
    assert same_as_photo(buffer.getvalue())
    with pytest.raises(ImageError, match="several pages"):
        open_picture(tiff_of(np.stack([np.asarray(PHOTO)] * 2), photometric="rgb"))


GIF = file_of(PHOTO.convert("P"), "GIF")
PROGRESSIVE = file_of(PHOTO, "JPEG", progressive=True)
PLAIN_TIFF = tiff_of(np.asarray(PHOTO))
TORN = {
    "TIFF, next directory beyond the end": with_following_directory(tiff_of(np.asarray(PHOTO)), 2**31),
    "TIFF, next directory in the pixels": with_following_directory(tiff_of(np.asarray(PHOTO)), 1001),
    "TIFF, next directory the first again": with_following_directory(
        PLAIN_TIFF, struct.unpack_from("<I", PLAIN_TIFF, 4)[0]
    ),
    "PNG, bad checksum of a text": png_with(chunk(b"tEXt", b"Comment\0hello", flip=1)),
    "PNG, torn text at the end": file_of(PHOTO, "PNG")[:-12] + b"\0\0\1\0tEXtComm",
    "PNG, no end": file_of(PHOTO, "PNG")[:-12],
    "PNG, 3 MB of compressed text": png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000)))),
    "PNG, 100 MB of compressed text": png_with(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 1))),
    "PNG, 70 texts of 1 MB": png_with(*[chunk(b"tEXt", b"Comment\0" + b"x" * 1_000_000)] * 70),
}


@pytest.mark.parametrize("name", TORN)
def test_the_intact_first_picture_opens_whatever_surrounds_it(name: str) -> None:
    assert same_as_photo(TORN[name])


@pytest.mark.parametrize("content", [file_of(PHOTO, "JPEG"), PROGRESSIVE], ids=["baseline", "progressive"])
def test_a_jpeg_without_its_last_bytes_opens_where_no_pixel_is_missing(content: bytes) -> None:
    whole = open_picture(content).pixels
    assert np.array_equal(open_picture(content[:-2]).pixels, whole)
    assert np.array_equal(open_picture(content[:-1]).pixels, whole)
    with pytest.raises(ImageError, match="its end is missing"):
        open_picture(content[:-12])


def test_a_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    with pytest.raises(ImageError, match="its end is missing"):
        open_picture(PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xda")])


def test_a_gif_with_a_torn_last_block_or_second_picture_opens_as_its_first() -> None:
    whole = open_picture(GIF).pixels
    assert np.array_equal(open_picture(GIF[:-1]).pixels, whole)
    assert np.array_equal(open_picture(GIF[:-2]).pixels, whole)
    two = file_of(PHOTO.convert("P"), "GIF", save_all=True, append_images=[PHOTO.rotate(180).convert("P")])
    assert np.array_equal(open_picture(two[:-9]).size, PHOTO.size)


def test_a_damaged_chunk_of_pixels_is_refused_with_the_chunk() -> None:
    content = bytearray(file_of(PHOTO, "PNG"))
    content[-20] ^= 1
    with pytest.raises(ImageError, match="the checksum of its IDAT chunk is wrong"):
        open_picture(bytes(content))


ENDLESS = {
    "PNG": png_with(chunk(b"abCd", b"") * 250_000),
    "GIF": b"GIF89a" + bytes(7) + b"\x21\xff\x01a\0" * 20_000 + b";",
    "JPEG": b"\xff\xd8" + b"\xff\xe0\0\2" * 150_000,
    "JPEG of fill": b"\xff\xd8" + b"\xff" * 5_000_000,
    "WebP": b"RIFF\0\0\0\0WEBP" + (b"abcd" + bytes(4)) * 20_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_file_of_endless_small_blocks_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="Save it anew|no pixels in it"):
        open_picture(ENDLESS[name])


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    scan = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="more than 500 scans"):
        open_picture(PROGRESSIVE[:-2] + scan * 600 + PROGRESSIVE[-2:])


def exif_with(tag: int, kind: int) -> bytes:
    """EXIF of orientation 6 and another tag of any type, whose value is nonsense."""
    other = struct.pack("<HHI4s", tag, kind, 3, b"\xff\xff\xff\x7f")
    turn = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    entries = (other + turn) if tag < 0x0112 else (turn + other)
    return b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)


@pytest.mark.parametrize("kind", range(1, 14))
def test_a_tag_of_a_wrong_type_beside_the_orientation_does_not_matter(kind: int) -> None:
    for tag in (0x010E, 0x010F, 0x011A, 0x0128, 0x0131, 0x0132, 0x013B, 0x0213, 0x8298, 0x8769, 0x8825, 0x9C9B):
        content = file_of(PHOTO, "JPEG")
        block = b"Exif\0\0" + exif_with(tag, kind)
        jpeg = content[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(block) + 2) + block + content[2:]
        assert open_picture(jpeg).size == (24, 32)
        assert open_picture(png_with(chunk(b"eXIf", exif_with(tag, kind)))).size == (24, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = file_of(PHOTO, "PNG", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(open_picture(image).pixels, expected)
    assert np.array_equal(open_picture(content).pixels, expected)
    tiff = tiff_of(np.asarray(PHOTO), extratags=[(274, 3, 1, orientation, True)])
    assert np.array_equal(open_picture(tiff).pixels, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_of_more_than_a_megabyte_is_applied(kind: str) -> None:
    profile = Profile(1.0, "srgb", size=1_500_000).content(grey=False)
    grey = Image.new("RGB", (8, 8), (64, 64, 64))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.abs(open_picture(file_of(grey, kind, icc_profile=profile, **options)).pixels.astype(int) - 137).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_grey_profile_is_applied_in_every_grey_mode(mode: str) -> None:
    profile = Profile(1.0, "srgb").content(grey=True)
    image = Image.new("L", (8, 8), 127).convert("LA" if mode == "LA" else "L")
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 127 * 257, np.uint16))
    for source in (file_of(image, "PNG", icc_profile=profile), file_of(image, "TIFF", icc_profile=profile)):
        assert np.abs(open_picture(source).pixels.astype(int) - 187).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_colour_is_compared_in_the_files_own_bits(bits: int) -> None:
    # Tests of 16 bits differ from the key in the low byte only.
    stored = np.array([[0, 1], [1, 0]], np.uint16)
    rows = {16: stored.astype(">u2").view(np.uint8), 8: stored.astype(np.uint8)}.get(bits)
    if rows is None:
        rows = np.packbits(
            np.unpackbits(stored.astype(np.uint8)[..., None], axis=-1)[..., -bits:].reshape(2, -1), axis=1
        )
    header = struct.pack(">IIBBBBB", 2, 2, bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = chunk(b"IHDR", header) + chunk(b"tRNS", b"\0\1") + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    opened = open_picture(b"\x89PNG\r\n\x1a\n" + body)
    assert opened.opaque is not None
    assert opened.opaque.tolist() == [[True, False], [False, True]]


def test_a_picture_without_pixels_is_said_to_have_none() -> None:
    empty = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0))
    for source in (empty, Image.new("RGB", (0, 5))):
        with pytest.raises(ImageError, match="0x5: it has no pixels"):
            open_picture(source)


def test_a_stream_without_end_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_BYTES", 5_000_000)

    class Endless(io.RawIOBase):
        def __init__(self, start: bytes) -> None:
            self.start, self.given = start, 0

        def read(self, size: int = -1) -> bytes:
            content, self.start = (self.start or bytes(size))[:size], b""
            self.given += len(content)
            return content

    noise, png = Endless(b"y\n" * 32), Endless(file_of(PHOTO, "PNG")[:64])
    with pytest.raises(ImageError, match="not a picture"):
        read_limited(noise, "Standard input")
    with pytest.raises(ImageError, match="larger than 5,000,000 bytes"):
        read_limited(png, "Standard input")
    assert noise.given == 64 and png.given < 8_000_000


def test_made_pictures_of_every_kind_are_right_or_refused() -> None:
    """A sample of `python -m tests.made_pictures 2000`."""
    for seed in range(150):
        made = made_picture(seed)
        assert (fault(made) or fault_through_pil(made)) == "", f"{seed}: {made.name}"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="taken.png cannot be written"):
        write_all({tmp_path / "taken.png": b"content"})
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]


def test_of_several_files_all_are_written_or_none(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="two.png cannot be written"):
        write_all({tmp_path / "one.png": b"1", tmp_path / "missing" / "two.png": b"2"})
    assert not list(tmp_path.iterdir())
    write_all({tmp_path / "one.png": b"1", tmp_path / "two.png": b"2"})
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"1", b"2"]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "out.png").symlink_to(tmp_path / "album" / "picture.png")
    write_all({tmp_path / "out.png": b"1"})
    write_all({tmp_path / "out.png": b"2"})
    assert (tmp_path / "out.png").is_symlink()
    assert (tmp_path / "album" / "picture.png").read_bytes() == b"2"
    assert len(list(tmp_path.rglob("*"))) == 3


def test_a_replaced_file_hands_on_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"1")
    path.chmod(0o640)
    write_all({path: b"2"})
    assert path.read_bytes() == b"2" and path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("what", ["pipe", "read-only", "circle", "folder"])
def test_what_is_no_file_to_replace_is_refused_and_left(tmp_path: Path, what: str) -> None:
    path = tmp_path / "out.png"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "circle":
        path.symlink_to(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"1")
        path.chmod(0o444)
    words = {"read-only": "is read-only", "circle": "in a circle"}
    before = path.lstat()
    with pytest.raises(OutputError, match=words.get(what, "is not a file")):
        write_all({path: b"2"})
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert len(list(tmp_path.iterdir())) == 1


def deep_photo() -> tuple[np.ndarray, Original]:
    """Display P3 in 16 bits, and what a run with 8 pixels more on the left kept and painted of it."""
    samples = np.random.default_rng(1).integers(0, 65536, (24, 32, 3)).astype(np.uint16)
    return samples, Original(samples, Profile(2.2, "p3").content(grey=False))


def sixteen_bit_png(samples: np.ndarray, profile: bytes) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, 2, 0, 0, 0)
    colours = chunk(b"iCCP", b"P3\0\0" + zlib.compress(profile))
    body = chunk(b"IHDR", header) + colours + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def read_sixteen_bit_png(content: bytes) -> np.ndarray:
    """Rows that are differences from the one above."""
    height, width = struct.unpack(">II", content[16:24])[::-1]
    (length,) = struct.unpack(">I", content[content.index(b"IDAT") - 4 :][:4])
    data = zlib.decompress(content[content.index(b"IDAT") + 4 :][:length])
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(height, width, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_samples_and_profile_of_a_16_bit_original_are_read_whole(kind: str) -> None:
    samples, original = deep_photo()
    content = sixteen_bit_png(samples, original.profile or b"")
    if kind == "TIFF":
        content = tiff_of(samples, photometric="rgb", iccprofile=original.profile)
    opened = open_original(content)
    assert opened is not None and opened.profile == original.profile
    assert np.array_equal(opened.samples, samples)


def test_a_plain_picture_has_no_original_to_keep() -> None:
    assert open_original(file_of(PHOTO, "PNG")) is None
    assert open_original(file_of(PHOTO.convert("L"), "PNG")) is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_only_what_is_painted_of_a_16_bit_original_goes_through_8_bits(suffix: str) -> None:
    samples, original = deep_photo()
    found = plan((32, 24), Placement(40, 24, 1.0, 8, 0), mask_expand=4)
    painted = Image.new("RGB", (40, 24), (200, 100, 50))
    provenance = Provenance("a tool", {"seed": 7}, "a prompt")
    content = encode_original(with_original(painted, found, original), suffix, provenance)
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == original.profile
        assert suffix == ".tif" or image.text["parameters"] == "a prompt"
    written = tifffile.imread(io.BytesIO(content)) if suffix == ".tif" else read_sixteen_bit_png(content)
    assert written.dtype.itemsize == 2
    assert np.array_equal(written[:, 12:], samples[:, 4:])
    # What was painted is the same colour in the profile's terms.
    assert np.abs(open_picture(content).pixels[:, :8].astype(int) - (200, 100, 50)).max() <= 2
