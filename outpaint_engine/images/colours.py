"""From what Pillow decoded to sRGB pixels and what of them is known."""

import io
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ImageError
from ..tensors import Array
from .essentials import Essentials
from .icc import to_srgb
from .picture import NEARLY_OPAQUE, Picture, turned

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["picture_of"]

SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
GREY = ("1", "L", "LA", "La")
COLOURED = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV")


def picture_of(name: str, image: "Image", found: Essentials, deep: Array | None, grey: bool) -> Picture:
    """A loaded image as sRGB, upright.

    `deep` holds its colours in 16 bits where Pillow cut them to 8, uint16 (height, width, 3); `grey`: its three
    channels are one.

    Raises:
        ImageError: the image's mode says nothing of what is black and what is white.
    """
    if image.mode in SIXTEEN:
        deep, grey = _sixteen_bit_grey(image, found), True
    elif image.mode not in (*GREY, *COLOURED):
        raise ImageError(
            f"{name} has PIL's mode {image.mode}, which does not say what is black and what is white. "
            "Convert it to RGB with 8 bits first."
        )
    opaque = _opaque(image, found, deep)
    base, pixels = _base(image, deep, grey), None
    if deep is not None:
        pixels = to_srgb(deep[..., 0] if grey and deep.ndim == 3 else deep, found.profile)
    elif base.mode == "L" and found.profile:
        pixels = to_srgb(np.asarray(base).astype(np.uint16) * 257, found.profile)
    if pixels is None:
        pixels = np.asarray(_srgb(base, found.profile))
    if opaque is not None:
        opaque = None if opaque.all() else turned(opaque, found.orientation)
    return Picture(turned(pixels, found.orientation), opaque)


def _sixteen_bit_grey(image: "Image", found: Essentials) -> Array:
    """Grey samples, uint16 (height, width) over the whole range."""
    deep: Array = np.asarray(image).astype(np.uint16)
    if found.bits == 12:
        # 4095 becomes 65535.
        deep = deep << 4 | deep >> 8
    return 65535 - deep if found.inverted else deep


def _opaque(image: "Image", found: Essentials, deep: Array | None) -> Array | None:
    """Bool (height, width): which pixels are known; None where all are."""
    if found.key is not None:
        return _differs(image, found, deep)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        return np.asarray(image.convert("RGBA"))[..., 3] >= NEARLY_OPAQUE
    return None


def _differs(image: "Image", found: Essentials, deep: Array | None) -> Array:
    """Where a picture is not of the transparent colour, which its file states in samples of `found.bits` bits."""
    if deep is not None:
        samples, key = deep, found.key
    else:
        samples = np.asarray(image.convert("L") if image.mode in ("1", "L") else image.convert("RGB"))
        most = (1 << found.bits) - 1
        key = tuple(value * 255 // most for value in found.key or ()) if found.bits < 8 else found.key
    samples = samples if samples.ndim == 3 else samples[..., None]
    return (samples[..., : len(key or ())] != np.array(key)).any(axis=-1)


def _base(image: "Image", deep: Array | None, grey: bool) -> "Image":
    """The colours in a mode that a profile can be for: RGB, L or CMYK."""
    from PIL import Image

    if deep is not None:
        # Exact for 16 bits: 65535 is 257 times 255.
        return Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("RGB", "L", "CMYK"):
        return image
    if image.mode in GREY:
        return image.convert("LA").convert("L") if image.mode == "La" else image.convert("L")
    if grey:
        return image.getchannel(0)
    return image.convert("RGB") if image.mode in ("YCbCr", "HSV") else image.convert("RGBA").convert("RGB")


def _srgb(base: "Image", profile: bytes | None) -> "Image":
    """Convert to RGB, through the embedded ICC profile where there is a readable one."""
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(base, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that does not fit its picture: every viewer then shows the plain values
    return base.convert("RGB")
