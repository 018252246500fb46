"""Where the picture goes, what is painted, and how the untouched pixels come back. Plain numpy, no model."""

from .harmonize import color_match
from .infill import INFILLS, choose_infill, infill, spread
from .masks import box_sum, continued, dilated, latent_mask, paste_back, within
from .placement import ANCHORS, MAX_SIDE, WAYS, Placement, way_of
from .planning import Box, CanvasPlan, plan
from .quality import QualityReport, report, tile_edge_ratio

__all__ = [
    "INFILLS",
    "QualityReport",
    "choose_infill",
    "color_match",
    "infill",
    "report",
    "spread",
    "tile_edge_ratio",
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
