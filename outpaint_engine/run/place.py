"""Puts a request's picture on its canvas."""

from typing import NamedTuple

import numpy as np

from ..canvas import CanvasPlan, plan
from ..images import masked, open_picture
from ..request import OutpaintRequest
from ..tensors import Array

__all__ = ["Placed", "place"]


class Placed(NamedTuple):
    """A canvas, uint8 (height, width, 3), grey where nothing is known, and what would be painted on it."""

    canvas: Array
    plan: CanvasPlan


def place(request: OutpaintRequest) -> Placed:
    """Open, resize and place the picture.

    Raises:
        ImageError: the picture or its mask cannot be read.
        RequestError: the placement shows nothing of it, or leaves nothing to paint, or the mask is of another size.
    """
    picture = open_picture(request.image)
    if request.mask is not None:
        picture = masked(picture, request.mask)
    scaled = picture.resized(request.placement.scaled(picture.size))
    planned = plan(picture.size, request.placement, request.mask_expand, scaled.opaque, request.wrap, scaled.grey)
    canvas = np.full((*planned.unknown.shape, 3), 127, np.uint8)
    box, placed = planned.visible, planned.placed
    canvas[box.top : box.bottom, box.left : box.right] = scaled.pixels[
        box.top - placed.top : box.bottom - placed.top, box.left - placed.left : box.right - placed.left
    ]
    return Placed(canvas, planned)
