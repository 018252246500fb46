"""A mask beside a picture: white is painted, black is kept, and grey is painted more freely the lighter it is."""

from typing import Any

import numpy as np

from ..errors import ImageError, RequestError
from ..tensors import Array
from .opening import open_picture
from .picture import Picture

__all__ = ["masked", "open_mask"]

NEAR = 5
"""Levels of 255 from black or white that count as it: JPEG does not keep flat areas flat."""


def masked(picture: Picture, source: Any) -> Picture:
    """The picture with white of the mask `source` as unknown, as if it was transparent there, and its grey kept.

    Raises:
        ImageError: as `open_mask`.
        RequestError: the two differ in size.
    """
    levels = open_mask(source)
    height, width = levels.shape
    if (width, height) != picture.size:
        raise RequestError(
            f"The mask is {width}x{height} and the picture is {picture.size[0]}x{picture.size[1]}: make the mask as "
            "large as the picture, before scale."
        )
    hole = levels == 255
    opaque = ~hole if picture.opaque is None else picture.opaque & ~hole
    return Picture(picture.pixels, opaque, levels if (levels[~hole] > 0).any() else None)


def open_mask(source: Any) -> Array:
    """What `open_picture` takes, or an array (height, width) of uint8 or bool, as uint8 (height, width).

    Raises:
        ImageError: as `open_picture`; or the mask has transparent pixels.
    """
    if isinstance(source, np.ndarray) and source.ndim == 2 and source.dtype in (np.uint8, bool):
        source = np.repeat((source if source.dtype == np.uint8 else source * np.uint8(255))[..., None], 3, axis=2)
    opened = open_picture(source)
    if opened.opaque is not None:
        raise ImageError("The mask has transparent pixels: save it without alpha, white where it is to be painted.")
    from PIL import Image

    levels = np.asarray(Image.fromarray(opened.pixels).convert("L"))
    return np.where(levels <= NEAR, 0, np.where(levels >= 255 - NEAR, 255, levels)).astype(np.uint8)
