"""The picture that everything else works on: sRGB pixels, and which of them are known."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..canvas import box_sum
from ..tensors import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["NEARLY_OPAQUE", "Picture", "to_image", "turned"]

NEARLY_OPAQUE = 243
"""The least alpha of 255 at which a pixel counts as known: 95 %. Below it more than 12 levels would not be its own."""


class Picture(NamedTuple):
    """sRGB pixels, uint8 (height, width, 3); `opaque` is bool (height, width), None where all is opaque.

    `grey` is a mask's, uint8 (height, width): 0 is kept, what is not opaque is painted, and between them more freely
    the lighter; None where there is none.
    """

    pixels: Array
    opaque: Array | None
    grey: Array | None = None

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
        grey = None
        if self.grey is not None:
            grey = np.asarray(Image.fromarray(self.grey).resize(size, Image.Resampling.BOX))
        if self.opaque is None:
            return Picture(pixels, None, grey)
        # Whatever Lanczos, which reaches three pixels far, mixed with hidden colours is hidden too.
        reach = 3 * max(1, -(-self.size[0] // size[0]), -(-self.size[1] // size[1]))
        certain = box_sum((~self.opaque).astype(np.int64), reach) == 0
        nearest = Image.fromarray(certain).resize(size, Image.Resampling.NEAREST)
        return Picture(pixels, np.asarray(nearest), grey)


def turned(array: Array, orientation: int) -> Array:
    """An array (height, width, ...) as EXIF's orientation, 1 to 8, says that it is to be seen; else unchanged."""
    match orientation:
        case 2:
            array = array[:, ::-1]
        case 3:
            array = array[::-1, ::-1]
        case 4:
            array = array[::-1]
        case 5:
            array = array.swapaxes(0, 1)
        case 6:
            array = array[::-1].swapaxes(0, 1)
        case 7:
            array = array[::-1, ::-1].swapaxes(0, 1)
        case 8:
            array = array[:, ::-1].swapaxes(0, 1)
    return np.ascontiguousarray(array)


def to_image(pixels: Array) -> "Image":
    """A PIL image of uint8 (height, width, 3) pixels."""
    from PIL import Image

    return Image.fromarray(pixels)
