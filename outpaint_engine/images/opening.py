"""Opening a picture that cannot be trusted: its first picture upright and in sRGB, or one sentence that says why."""

import io
import os
import warnings
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from ..tensors import Array
from . import gif, jpeg, png, tiff, webp
from .colours import picture_of
from .essentials import MAX_PIXELS, Essentials, check_size
from .original import Original
from .picture import NEARLY_OPAQUE, Picture, turned

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = ["MAX_BYTES", "MAX_PIXELS", "header", "open_original", "open_picture", "read_limited"]

MAX_BYTES = 400_000_000
READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
BLOCK = 1 << 20
UNKNOWN = f"is not a picture in a format that can be read ({', '.join(READABLE)})."
SWAPPED = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA", "RGB;16L": "RGB;16B", "RGBA;16L": "RGBA;16B"}
"""Ways to unpack 16-bit samples that give their low bytes, by the ones that give their high bytes."""

Reader = Callable[[str, bytes], Essentials]


def open_original(source: Any) -> Original | None:
    """The RGB samples and profile of a path or of bytes; None where they are 8 bits of no stated colour space.

    Raises:
        ImageError: as `open_picture`.
    """
    name, content = _named_content(source)
    kind, found = _essentials(name, content)
    if found.bits != 16 and not found.profile:
        return None
    image, _ = _loaded(name, kind, found.content)
    if image.mode not in ("RGB", "RGBA") or _is_grey_png(kind, found.content):
        return None
    deep = found.bits == 16
    samples = _sixteen_bits(name, kind, found.content, image) if deep else np.asarray(image)[..., :3]
    return Original(turned(samples, found.orientation), found.profile)


def open_picture(source: Any) -> Picture:
    """Open a path, the bytes of a file, a PIL image or uint8 pixels, upright and in sRGB; a `Picture` is itself.

    Of a file only what decides about the picture is read (see `essentials`): EXIF's orientation, the ICC profile, which
    is converted, and the pixels. CMYK, palettes and 16 bits become 8-bit RGB. A pixel with an alpha below
    `NEARLY_OPAQUE`, or of a colour that is marked as transparent, counts as unknown.

    Raises:
        ImageError: not a picture, damaged, more than `MAX_PIXELS` or `MAX_BYTES`, several pictures (an animation), or
            samples whose brightness is not settled (floating-point, 32 bits, signed).
    """
    from PIL import Image

    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil("The picture", source)
    return _from_file(*_named_content(source))


def _named_content(source: Any) -> tuple[str, bytes]:
    """The name of a file for messages, and its bytes."""
    if isinstance(source, bytes | bytearray):
        return "The picture", bytes(source)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(f"image must be a path, bytes, a PIL image or an array, not {type(source).__name__}.")
    path = os.fspath(source)
    try:
        with open(path, "rb") as file:
            content = read_limited(file, str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return str(path), content


def read_limited(file: IO[bytes], name: str) -> bytes:
    """The bytes of a picture's file or stream, at most `MAX_BYTES`; what begins as no picture is not read further.

    Raises:
        ImageError: it is no picture, or has too many bytes.
    """
    content = bytearray(file.read(64))
    if _kind(bytes(content)) is None:
        raise ImageError(f"{name} {UNKNOWN}")
    while block := file.read(BLOCK):
        content += block
        if len(content) > MAX_BYTES:
            raise ImageError(f"{name} is larger than {MAX_BYTES:,} bytes. Make it smaller first.")
    return bytes(content)


def header(name: str, content: bytes) -> tuple[tuple[int, int], int]:
    """Width and height, and how many pictures there are, without decoding pixels.

    Raises:
        ImageError: as `open_picture`, where the header tells.
    """
    kind, found = _essentials(name, content)
    with _opened(name, kind, found.content) as image:
        return image.size, found.pictures


def _kind(content: bytes) -> tuple[str, Reader] | None:
    """The format that a file begins as, and what reads it; None for every other."""
    if content.startswith(png.SIGNATURE):
        return "PNG", png.essentials
    if content.startswith(jpeg.SIGNATURE):
        return "JPEG", jpeg.essentials
    if content.startswith(gif.SIGNATURES):
        return "GIF", gif.essentials
    if content.startswith(tiff.SIGNATURES):
        return "TIFF", tiff.essentials
    if webp.is_webp(content):
        return "WEBP", webp.essentials
    return ("BMP", lambda name, content: Essentials(content)) if content.startswith(b"BM") else None


def _essentials(name: str, content: bytes) -> tuple[str, Essentials]:
    found = _kind(content[:64])
    if found is None:
        raise ImageError(f"{name} {UNKNOWN}")
    kind, reader = found
    return kind, reader(name, content)


def _from_file(name: str, content: bytes) -> Picture:
    kind, found = _essentials(name, content)
    _check_single(name, found.pictures)
    image, rawmode = _loaded(name, kind, found.content)
    deep = None
    if found.bits == 16 and image.mode in ("RGB", "RGBA") and (found.key or found.profile):
        deep = _sixteen_bits(name, kind, found.content, image)
    if found.torn:
        for other in jpeg.tails(found.content):
            if not np.array_equal(np.asarray(_loaded(name, kind, other)[0]), np.asarray(image)):
                raise ImageError(f"{name} is damaged and cannot be decoded: its end is missing.")
    return _described(name, image, found, deep, grey=rawmode.startswith("LA"))


def _from_pil(name: str, image: "Image") -> Picture:
    """A PIL image; what Pillow did not keep of its file is read from where Pillow keeps the rest."""
    try:
        pictures = getattr(image, "n_frames", 1)
    except Exception:  # a torn tail: what can be read is the first one
        pictures = 1
    # A phone's JPEG with a second picture (a depth or HDR map) opens as MPO; its first frame is the photo.
    _check_single(name, 1 if image.format == "MPO" else pictures)
    check_size(name, *image.size)
    bits, key = _key_of(image)
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}.") from error
    if key and max(key) > 255 and image.mode == "RGB":
        raise ImageError(f"{name} has a transparent colour of 16 bits, which PIL cut to 8: give its path or bytes.")
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # as many kinds as there are broken tags
        orientation = 1
    orientation = orientation if isinstance(orientation, int) else 1
    return _described(name, image, Essentials(b"", orientation, image.info.get("icc_profile"), 1, bits, key))


def _key_of(image: Any) -> tuple[int, tuple[int, ...] | None]:
    """Bits of a sample as far as they are known, and the transparent colour."""
    args = image.tile[0].args if getattr(image, "tile", None) else ()
    rawmode = args if isinstance(args, str) else args[0] if args else ""
    bits = {"1": 1, "L;2": 2, "L;4": 4}.get(rawmode, 16 if image.mode.startswith("I;16") else 8)
    key = image.info.get("transparency")
    if image.mode == "P" or key is None or isinstance(key, bytes):
        return bits, None
    return bits, tuple(key) if isinstance(key, tuple) else (key,)


def _described(
    name: str, image: "Image", found: Essentials, deep: Array | None = None, *, grey: bool = False
) -> Picture:
    try:
        return picture_of(name, image, found, deep, grey)
    except ImageError:
        raise
    except Exception as error:  # Pillow's conversions raise many kinds for what they do not know
        raise ImageError(f"{name} cannot be converted to RGB: {error}.") from error


def _opened(name: str, kind: str, content: bytes) -> "ImageFile":
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=(kind,))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Make it smaller first.") from error
    except UnidentifiedImageError as error:
        what = "is damaged: its header cannot be read"
        if kind == "TIFF":
            what = "is a TIFF whose pixels are stored in a way that is not read here, or a damaged one"
        raise ImageError(f"{name} {what}. Save it anew, as PNG.") from error
    except Exception as error:  # Pillow's parsers raise many kinds for a broken header
        raise ImageError(f"{name} is damaged and cannot be opened: {error}.") from error
    check_size(name, *image.size)
    return image


def _loaded(name: str, kind: str, content: bytes, swap: bool = False) -> "tuple[ImageFile, str]":
    """A decoded image, and how its pixels were unpacked; with `swap` the low bytes of 16-bit samples."""
    image = _opened(name, kind, content)
    args: Any = image.tile[0].args if image.tile else ""
    rawmode = args if isinstance(args, str) else str(args[0]) if args else ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if swap:
                low = SWAPPED[rawmode.replace(";16N", ";16L")]
                image.tile = [
                    tile._replace(args=low if isinstance(tile.args, str) else (low, *(tile.args or ())[1:]))
                    for tile in image.tile
                ]
            image.load()
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}.") from error
    return image, rawmode


def _sixteen_bits(name: str, kind: str, content: bytes, high: "Image") -> Array:
    """The samples whole, uint16 (height, width, 3); Pillow decodes their high or their low bytes."""
    low = np.asarray(_loaded(name, kind, content, swap=True)[0])
    if low.shape[-1] == 4 and _is_grey_png(kind, content):
        low = np.repeat(low[..., 1:2], 3, axis=2)
    return np.asarray(high)[..., :3].astype(np.uint16) << 8 | low[..., :3]


def _is_grey_png(kind: str, content: bytes) -> bool:
    return kind == "PNG" and content[25] == 4


def _check_single(name: str, pictures: int) -> None:
    if pictures > 1:
        raise ImageError(f"{name} is animated or has several pages. Save the one that you want as its own file.")


def _from_array(array: Array) -> Picture:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ImageError(
            f"An image array must be uint8 of shape (height, width, 3 or 4), not {array.dtype} {list(array.shape)}."
        )
    check_size("The picture", array.shape[1], array.shape[0])
    opaque = array[..., 3] >= NEARLY_OPAQUE if array.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(array[..., :3]), None if opaque is None or opaque.all() else opaque)
