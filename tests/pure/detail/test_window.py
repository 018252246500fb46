"""Running the unknown area and its context only: which box that is, what is computed and what is kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintRequest, Placement, RequestError, plan
from outpaint_engine.canvas import Box
from outpaint_engine.window import window_of

from ...conftest import toy_unet

Toy = Callable[..., OutpaintPipeline]


@pytest.mark.parametrize(
    ("size", "placement", "native", "box"),
    [
        # One side: half the native size of context, and the rest is left out.
        ((512, 512), Placement(768, 512), 512, Box(256, 0, 768, 512)),
        ((512, 512), Placement(768, 512), 256, Box(384, 0, 768, 512)),
        # A narrow strip: the window is as large as the model was trained at.
        ((512, 512), Placement(512, 576), 512, Box(0, 64, 512, 576)),
        ((512, 512), Placement(576, 512, offset_x=64), 512, Box(0, 0, 512, 512)),
        # Two sides that meet.
        ((1024, 1024), Placement(1152, 1152), 512, Box(0, 0, 1152, 1152)),
        # Nothing can be left out.
        ((512, 512), Placement(1024, 512, offset_x=256), 512, Box(0, 0, 1024, 512)),
    ],
)
def test_the_window_is_the_unknown_canvas_and_its_context(
    size: tuple[int, int], placement: Placement, native: int, box: Box
) -> None:
    assert window_of(plan(size, placement), native) == box


def test_a_hole_is_painted_from_its_surroundings() -> None:
    opaque = np.ones((512, 512), bool)
    opaque[100:110, 400:440] = False
    assert window_of(plan((512, 512), Placement(512, 512), 8, opaque), 128) == Box(336, 32, 504, 176)


def test_only_the_window_is_computed_and_the_rest_comes_back_as_it_was(toy: Toy, picture: np.ndarray) -> None:
    sides: list[tuple[int, ...]] = []

    def seen(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        sides.append(feeds["sample"].shape[2:])
        return toy_unet(**feeds)

    photo = np.tile(picture, (2, 4, 1))
    pipe = toy(unet=seen)
    native = pipe.models.engine_set.native_size
    height, width = photo.shape[:2]
    fields: dict[str, Any] = {"width": width + native, "height": height, "num_inference_steps": 2, "seed": 1}
    result = pipe(image=photo, **fields, window=True, num_images=2)
    box = window_of(result.plan, native)
    assert set(sides) == {((box.bottom - box.top) // 8, (box.right - box.left) // 8)}
    for image, quality in zip(result.images, result.quality, strict=True):
        out = np.asarray(image)
        assert out.shape == (height, width + native, 3) and quality.changed_pixels == 0
        assert np.array_equal(out[:, : width - 16], photo[:, : width - 16])
    assert any(note.startswith("window: ") for note in result.notes)
    # What is painted is what the part alone would give.
    part = pipe(image=photo[:, box.left :], **{**fields, "width": box.right - box.left})
    assert np.array_equal(np.asarray(part.images[0]), np.asarray(result.images[0])[:, box.left :])


def test_a_window_has_no_other_side_to_wrap_to() -> None:
    with pytest.raises(RequestError, match="choose one of them"):
        OutpaintRequest(image=None, window=True, wrap="x")
