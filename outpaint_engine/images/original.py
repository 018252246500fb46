"""A picture's own samples and profile, put back into a result: only what is painted goes through 8 bits and sRGB."""

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..canvas import Box, CanvasPlan
from ..errors import OutputError
from ..tensors import Array
from . import png
from .provenance import XMP_TAG, Provenance, packet, saving
from .writing import FORMATS, OPTIONS, encode

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["KEEPING", "Original", "check_keeping", "encode_original", "with_original"]

KEEPING = (".png", ".tif", ".tiff")
"""File endings that keep 16 bits."""
ROWS = 512
"""Rows at a time, which bounds memory."""


class Original(NamedTuple):
    """RGB samples as a file has them, uint8 or uint16 (height, width, 3), upright, and their ICC profile."""

    samples: Array
    profile: bytes | None


def with_original(image: "Image", plan: CanvasPlan, original: Original) -> Original:
    """A result whose kept pixels are the original's own; the painted ones are brought to its profile and depth.

    `image` is a result of `plan`, whose scale was 1.
    """
    painted = np.asarray(_in_profile(image, original.profile))
    samples = painted.astype(original.samples.dtype)
    if samples.dtype == np.uint16:
        samples *= 257
    box, placed = plan.visible, plan.placed
    for top in range(box.top, box.bottom, ROWS):
        rows = Box(box.left, top, box.right, min(top + ROWS, box.bottom))
        own = original.samples[
            rows.top - placed.top : rows.bottom - placed.top, rows.left - placed.left : rows.right - placed.left
        ]
        inside = samples[rows.top : rows.bottom, rows.left : rows.right]
        np.copyto(inside, own, where=plan.share_in(rows)[..., None] == 0)
    return Original(samples, original.profile)


def check_keeping(suffix: str, original: Original) -> None:
    """Check that a file of this ending can be written with the original's samples.

    Raises:
        OutputError: a library is missing.
    """
    if FORMATS[suffix] == "TIFF" and original.samples.dtype == np.uint16:
        try:
            import tifffile  # noqa: F401
        except ImportError as error:
            raise OutputError(
                'A 16-bit TIFF is written by tifffile, which is not installed: pip install "outpaint_engine[tiff]".'
            ) from error


def encode_original(result: Original, suffix: str, provenance: Provenance | None = None) -> bytes:
    """Encode for a file ending of `KEEPING`, as `encode` does."""
    from PIL import Image

    deep, buffer = result.samples.dtype == np.uint16, io.BytesIO()
    if FORMATS[suffix] == "PNG":
        text = encode(Image.new("RGB", (1, 1)), suffix, provenance)
        return png.with_samples(text, result.samples, result.profile)
    if deep:
        import tifffile

        xmp = packet(provenance) if provenance else b""
        options: dict[str, Any] = {
            "photometric": "rgb",
            "compression": "zlib",
            "iccprofile": result.profile,
            "metadata": None,
            # Field, type (1 is bytes), number of values, value, and to be written once.
            "extratags": [(XMP_TAG, 1, len(xmp), xmp, True)] if xmp else [],
        }
        tifffile.imwrite(buffer, result.samples, **options)
    else:
        Image.fromarray(result.samples).save(
            buffer,
            "TIFF",
            **OPTIONS["TIFF"],
            icc_profile=result.profile,
            **(saving("TIFF", provenance) if provenance else {}),
        )
    return buffer.getvalue()


def _in_profile(image: "Image", profile: bytes | None) -> "Image":
    """Bring sRGB to the colours of a profile; a profile that does not fit was ignored in reading too."""
    from PIL import ImageCms

    if profile:
        try:
            target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image
