"""A run on part of the canvas: what is unknown and its context. The rest is neither encoded, sampled nor decoded.

The picture is the one of a request for the window alone, pasted onto the canvas: another one than the whole canvas
would give, because the model sees less of what is known and starts from other noise.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .canvas import Box, CanvasPlan, report
from .images import to_image
from .request import OutpaintRequest
from .run import OutpaintRun, Placed, Progress
from .tensors import Array

__all__ = ["WindowedRun", "cropped", "inside", "window_of"]


def window_of(plan: CanvasPlan, native_size: int) -> Box:
    """The box of all that is painted, with half of `native_size` in pixels around it and at least `native_size` a side.

    It ends where the canvas does. Its edges are multiples of 8.
    """
    touched = plan.touched
    height, width = touched.shape
    top, bottom = _span(np.flatnonzero(touched.any(axis=1)), height, native_size)
    left, right = _span(np.flatnonzero(touched.any(axis=0)), width, native_size)
    return Box(left, top, right, bottom)


def _span(unknown: Array, length: int, native_size: int) -> tuple[int, int]:
    context = native_size // 2
    first = max(0, int(unknown[0]) - context) // 8 * 8
    last = min(length, -(-(int(unknown[-1]) + 1 + context) // 8) * 8)
    first = max(0, min(first, last - native_size))
    return first, min(length, max(last, first + native_size))


def inside(request: OutpaintRequest, box: Box) -> OutpaintRequest:
    """The same request with the box for its canvas."""
    return replace(
        request,
        width=box.right - box.left,
        height=box.bottom - box.top,
        offset_x=request.offset_x - box.left,
        offset_y=request.offset_y - box.top,
        window=False,
    )


def cropped(placed: Placed, request: OutpaintRequest, box: Box) -> Placed:
    """What of a placed picture lies in the box, as the canvas of `request`, which `inside` made."""
    canvas, plan = placed
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    moved, seen = (
        Box(each.left - box.left, each.top - box.top, each.right - box.left, each.bottom - box.top)
        for each in (plan.placed, plan.visible)
    )
    visible = Box(max(0, seen.left), max(0, seen.top), min(request.width, seen.right), min(request.height, seen.bottom))
    part = replace(
        plan,
        placement=request.placement,
        placed=moved,
        visible=visible,
        unknown=np.ascontiguousarray(plan.unknown[rows, columns]),
        grey=None if plan.grey is None else np.ascontiguousarray(plan.grey[rows, columns]),
    )
    return Placed(np.ascontiguousarray(canvas[rows, columns]), part)


class WindowedRun(OutpaintRun):
    """`run`, on the canvas's part in `box`, and its pictures pasted onto the canvas of `placed`.

    Previews and the result's latents are the window's.
    """

    def __init__(self, placed: Placed, box: Box, run: OutpaintRun) -> None:
        super().__init__(placed.plan)
        self._canvas, self._box, self._run = placed.canvas, box, run
        height, width = placed.plan.unknown.shape
        self.notes = (
            *run.notes,
            f"window: {box.right - box.left}x{box.bottom - box.top} of the canvas of {width}x{height} were computed; "
            "the model saw nothing of the rest, so the picture differs from the whole canvas's. See docs/speed.md.",
        )

    def __iter__(self) -> Iterator[Progress]:
        """Run; stop iterating to cancel."""
        yield from self._run
        found = self._run.result
        pictures = [self._pasted(np.asarray(image)) for image in found.images]
        self._result = replace(
            found,
            images=[to_image(pixels) for pixels in pictures],
            quality=[report(pixels, self._canvas, self.plan) for pixels in pictures],
            plan=self.plan,
            notes=self.notes,
        )

    def _pasted(self, window: Array) -> Array:
        pixels, box = self._canvas.copy(), self._box
        pixels[box.top : box.bottom, box.left : box.right] = window
        return pixels
