"""Pictures in and out: opening what cannot be trusted, bringing it to sRGB, and writing files whole or not at all."""

import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .canvas import box_sum
from .errors import ImageError, OutputError
from .tensors import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "MAX_PIXELS", "Picture", "encode", "open_picture", "to_image", "write_all"]

MAX_PIXELS = 50_000_000
MAX_BYTES = 400_000_000
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
        # Whatever Lanczos, which reaches three pixels far, mixed with hidden colours is hidden too.
        reach = 3 * max(1, -(-self.size[0] // size[0]), -(-self.size[1] // size[1]))
        certain = box_sum((~self.opaque).astype(np.int64), reach) == 0
        nearest = Image.fromarray(certain).resize(size, Image.Resampling.NEAREST)
        return Picture(pixels, np.asarray(nearest))


def open_picture(source: Any) -> Picture:
    """Open a path, the bytes of a file, a PIL image or uint8 pixels, upright and in sRGB.

    EXIF orientation is applied, ICC profiles are converted, CMYK and palettes become RGB. A pixel that is not
    fully opaque counts as unknown.

    Raises:
        ImageError: not a picture, truncated, more than 50 million pixels, or animated.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decoded("The picture", source)
    if not isinstance(source, str | os.PathLike | bytes | bytearray):
        raise ImageError(f"image must be a path, bytes, a PIL image or an array, not {type(source).__name__}.")
    if isinstance(source, bytes | bytearray):
        name, content = "The picture", bytes(source)
    else:
        name, content = os.fspath(source), _content(os.fspath(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=READABLE)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a format that can be read ({', '.join(READABLE)}).") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Make it smaller first.") from error
    except Exception as error:  # Pillow's parsers raise many kinds for a broken header
        raise ImageError(f"{name} is damaged and cannot be opened: {error}.") from error
    with image:
        return _decoded(name, image)


def _content(path: str) -> bytes:
    """A file's bytes, at most `MAX_BYTES`."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(content) > MAX_BYTES:
        raise ImageError(f"{path} is larger than {MAX_BYTES:,} bytes. Make it smaller first.")
    return content


def _decoded(name: str, image: "Image") -> Picture:
    from PIL import ImageOps

    _check_header(name, image)
    try:
        image.load()
        return _from_image(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}.") from error


def _check_header(name: str, image: "Image") -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} is {width}x{height}: more than {MAX_PIXELS:,} pixels. Make it smaller first.")
    # A phone's JPEG with a second picture (a depth or HDR map) opens as MPO; its first frame is the photo.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
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

    if image.mode in ("I;16", "I;16B", "I"):
        return _sixteen_bit(image).convert("RGB")
    base = image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGBA").convert("RGB")
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(base, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that does not fit its picture: every viewer then shows the plain values
    return base.convert("RGB")


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


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write files so that all are complete or none is there: each beside its place first, then all renamed.

    Raises:
        OutputError: a file cannot be written.
    """
    parts: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            handle, name = tempfile.mkstemp(prefix=".outpaint-", dir=path.parent)
            parts[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o666 & ~_umask())
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask of permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
