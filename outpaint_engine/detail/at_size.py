"""A placed picture at a smaller canvas size, for the levels below the canvas."""

from dataclasses import replace

from ..canvas import Box, CanvasPlan
from ..run import Placed
from .resize import shrunk

__all__ = ["placed_at", "plan_at"]

LEAST_EXPAND = 8
"""Pixels of blend that every level has at least, where the canvas has them."""


def placed_at(placed: Placed, size: tuple[int, int]) -> Placed:
    """The canvas and its plan at a smaller (width, height)."""
    plan = plan_at(placed.plan, size)
    return placed if plan is placed.plan else Placed(shrunk(placed.canvas, size), plan)


def plan_at(plan: CanvasPlan, size: tuple[int, int]) -> CanvasPlan:
    """The plan at a smaller (width, height); a pixel of which any part is unknown is unknown."""
    whole = plan.whole
    if size == (whole.right, whole.bottom):
        return plan
    x, y = size[0] / whole.right, size[1] / whole.bottom

    def scaled(box: Box) -> Box:
        return Box(round(box.left * x), round(box.top * y), round(box.right * x), round(box.bottom * y))

    return replace(
        plan,
        placement=replace(plan.placement, width=size[0], height=size[1]),
        placed=scaled(plan.placed),
        visible=scaled(plan.visible),
        unknown=shrunk(plan.unknown, size) > 0,
        grey=None if plan.grey is None else shrunk(plan.grey, size),
        mask_expand=max(min(plan.mask_expand, LEAST_EXPAND), round(plan.mask_expand * (x + y) / 2)),
    )
