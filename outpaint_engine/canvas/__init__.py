"""Where the picture goes, what is painted, and how the untouched pixels come back. Plain numpy, no model."""

from .masks import box_sum, continued, dilated, latent_mask, paste_back, within
from .placement import ANCHORS, MAX_SIDE, WAYS, Placement, way_of
from .planning import Box, CanvasPlan, plan

__all__ = [
    "ANCHORS",
    "MAX_SIDE",
    "WAYS",
    "Box",
    "CanvasPlan",
    "Placement",
    "box_sum",
    "continued",
    "dilated",
    "latent_mask",
    "paste_back",
    "plan",
    "way_of",
    "within",
]
