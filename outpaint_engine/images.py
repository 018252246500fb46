"""Pictures in and out: opening what cannot be trusted, bringing it to sRGB, and writing a file whole or not at all."""

import io
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ImageError
from .tensors import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "MAX_PIXELS", "Picture", "encode", "open_picture", "to_image", "write_whole"]

MAX_PIXELS = 50_000_000
READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
FORMATS: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""File endings that can be written."""


class Picture(NamedTuple):
    """sRGB pixels, uint8 (height, width, 3); `opaque` is bool (height, width), None where all is opaque."""

    pixels: Array
    opaque: Array | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def resized(self, size: tuple[int, int]) -> "Picture":
        """The picture at `size` (width, height), by Lanczos; unchanged pixels where the size is its own."""
        if size == self.size:
            return self
        from PIL import Image

        pixels = np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.LANCZOS))
        if self.opaque is None:
            return Picture(pixels, None)
        opaque = Image.fromarray(self.opaque.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        return Picture(pixels, np.asarray(opaque) == 255)


def open_picture(source: Any) -> Picture:
    """Open a path, the bytes of a file, a PIL image or uint8 pixels, upright and in sRGB.

    EXIF orientation is applied, ICC profiles are converted, CMYK and palettes become RGB. A pixel that is not
    fully opaque counts as unknown.

    Raises:
        ImageError: not a picture, truncated, more than 50 million pixels, or animated.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(ImageOps.exif_transpose(source))
    if not isinstance(source, str | os.PathLike | bytes | bytearray):
        raise ImageError(f"image must be a path, bytes, a PIL image or an array, not {type(source).__name__}.")
    name = "The picture" if isinstance(source, bytes | bytearray) else os.fspath(source)
    try:
        file = io.BytesIO(source if isinstance(source, bytes | bytearray) else Path(source).read_bytes())
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=READABLE) as image:
                _check_header(name, image)
                image.load()
                return _from_image(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a format that can be read ({', '.join(READABLE)}).") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Make it smaller first.") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}.") from error


def _check_header(name: str, image: "Image") -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} is {width}x{height}: more than {MAX_PIXELS:,} pixels. Make it smaller first.")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{name} is animated or has several pages. Save the one that you want as its own file.")


def _from_array(array: Array) -> Picture:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ImageError(
            f"An image array must be uint8 of shape (height, width, 3 or 4), not {array.dtype} {list(array.shape)}."
        )
    opaque = array[..., 3] == 255 if array.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(array[..., :3]), None if opaque is None or opaque.all() else opaque)


def _from_image(image: "Image") -> Picture:
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    rgb = _srgb(image)
    if not transparent:
        return Picture(np.array(rgb), None)
    return _from_array(np.dstack([np.array(rgb), np.array(image.convert("RGBA"))[..., 3]]))


def _srgb(image: "Image") -> "Image":
    """Convert to RGB, through the embedded ICC profile where there is a readable one."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16B", "I"):
        return _sixteen_bit(image).convert("RGB")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        base = image.convert("RGB") if image.mode == "RGBA" else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(base, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that does not fit its picture: every viewer then shows the plain values
    return image.convert("RGBA").convert("RGB") if image.mode in ("P", "PA") else image.convert("RGB")


def _sixteen_bit(image: "Image") -> "Image":
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))


def to_image(pixels: Array) -> "Image":
    """A PIL image of uint8 (height, width, 3) pixels."""
    from PIL import Image

    return Image.fromarray(pixels)


def encode(image: "Image", suffix: str, metadata: Mapping[str, Any] | None = None, parameters: str = "") -> bytes:
    """Encode for a file ending of `FORMATS`.

    A PNG carries `parameters` (the text AUTOMATIC1111's web UI writes and reads) and `metadata` as JSON.
    """
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    kind = FORMATS[suffix]
    if kind == "PNG":
        info = PngInfo()
        if metadata is not None:
            info.add_text("parameters", parameters)
            info.add_itxt("outpaint_engine", json.dumps(metadata, ensure_ascii=False))
        image.save(buffer, "PNG", pnginfo=info)
    else:
        image.save(buffer, kind, quality=95)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either complete or not there: beside its place first, then renamed."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
