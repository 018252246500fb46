"""Opening what cannot be trusted: converted where it can be, refused with one sentence where it cannot."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from outpaint_engine import ImageError, OutputError
from outpaint_engine.images import encode, open_picture, write_all


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


def test_a_png_carries_the_request_and_can_leave_it_out() -> None:
    with Image.open(io.BytesIO(encode(PHOTO, ".png", {"seed": 7}, "a prompt\nSteps: 4"))) as image:
        assert image.text["parameters"] == "a prompt\nSteps: 4"
        assert image.text["outpaint_engine"] == '{"seed": 7}'
    with Image.open(io.BytesIO(encode(PHOTO, ".png"))) as image:
        assert not image.text


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
