"""Placement, masks and paste-back."""

import numpy as np
import pytest

from outpaint_engine import Placement, RequestError, plan
from outpaint_engine.canvas import Box, latent_mask, paste_back


def test_the_picture_lies_at_its_offset_and_the_rest_is_unknown() -> None:
    found = plan((32, 16), Placement(64, 48, 1.0, 8, 16), mask_expand=0)
    assert found.visible == Box(8, 16, 40, 32)
    assert found.unknown.sum() == 64 * 48 - 32 * 16
    assert not found.unknown[16:32, 8:40].any()
    assert np.array_equal(found.mask, found.unknown)


def test_scale_is_a_factor_on_the_pictures_own_pixels() -> None:
    assert plan((100, 50), Placement(64, 64, 0.5), 0).scaled_size == (50, 25)


def test_a_scale_that_would_make_a_giant_is_refused_before_any_work() -> None:
    with pytest.raises(RequestError, match="would make the picture 20000x20000"):
        plan((2000, 2000), Placement(512, 512, 10.0))


def test_what_falls_outside_is_cropped_and_said() -> None:
    found = plan((64, 64), Placement(64, 64, 1.0, -32, 0), 0)
    assert found.visible == Box(0, 0, 32, 64)
    assert found.warnings == ("50% of the picture falls outside the canvas and is cropped.",)


REFUSED = [
    ((64, 64), Placement(64, 64), "Nothing is left to paint"),
    ((64, 64), Placement(32, 32, 1.0, -16, -16), "Nothing is left to paint"),
    ((64, 64), Placement(128, 128, 1.0, 128, 0), "Nothing of the picture is on the canvas"),
    ((64, 64), Placement(128, 128, 1.0, 0, -64), "Nothing of the picture is on the canvas"),
]


@pytest.mark.parametrize(("size", "placement", "sentence"), REFUSED)
def test_a_pointless_placement_is_refused(size: tuple[int, int], placement: Placement, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        plan(size, placement)


def test_the_mask_grows_only_from_sides_that_meet_unknown_canvas() -> None:
    found = plan((64, 64), Placement(96, 64), mask_expand=8)
    assert found.mask[:, :56].max() == 0
    assert found.mask[:, 56:].min() == 1


def test_mask_expand_that_hides_the_whole_picture_is_said() -> None:
    assert "the model sees none of it" in plan((16, 16), Placement(64, 64, 1.0, 24, 24), 8).warnings[0]


def test_transparent_pixels_count_as_unknown() -> None:
    opaque = np.ones((32, 32), bool)
    opaque[:, :16] = False
    found = plan((32, 32), Placement(32, 32), 0, opaque)
    assert found.unknown[:, :16].all() and not found.unknown[:, 16:].any()


def test_what_is_painted_because_it_is_transparent_is_said() -> None:
    opaque = np.ones((32, 32), bool)
    opaque[:8] = False
    assert plan((32, 32), Placement(64, 32), 0, opaque).warnings == (
        "25% of the visible picture is transparent or masked, so it is painted.",
    )


def test_a_mask_that_takes_nearly_everything_is_said() -> None:
    holes = np.ones((68, 68), bool)
    holes[::7, ::7] = False
    assert plan((68, 68), Placement(68, 68), 3, holes).warnings[1] == (
        "Only 2.92% of the visible picture is kept; the rest of it is painted anew."
    )
    assert plan((64, 64), Placement(512, 512), 0).warnings == (
        "98.44% of the canvas is painted: the model has little of the picture to go by. "
        "Use a larger scale or a smaller canvas.",
    )


@pytest.mark.parametrize("options", [{"left": 16000}, {"aspect": "16:9", "scale": 40.0}, {"top": 16000, "bottom": 200}])
def test_a_canvas_beyond_the_limit_is_said_with_its_size_the_limit_and_the_remedy(options: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=r"The canvas would be \d+x\d+, and a side has at most 16384.*scale below"):
        Placement.of((400, 300), options)


def test_the_three_ways_to_say_a_placement_are_told_apart_by_their_options() -> None:
    assert Placement.of((64, 64), {"left": 64}) == Placement.of((64, 64), {"aspect": "2:1", "anchor": "right"})
    assert Placement.of((64, 64), {"left": 64}) == Placement.of((64, 64), {"width": 128, "height": 64, "offset_x": 64})
    with pytest.raises(RequestError, match="in one way, not several: width and left were given"):
        Placement.of((64, 64), {"left": 64, "width": 128})
    with pytest.raises(RequestError, match="anchor goes with aspect"):
        Placement.of((64, 64), {"anchor": "left"})


def test_a_picture_without_an_opaque_pixel_is_refused() -> None:
    with pytest.raises(RequestError, match="transparent"):
        plan((32, 32), Placement(64, 32), 0, np.zeros((32, 32), bool))


@pytest.mark.parametrize("expand", [0, 1, 7, 8, 16, 33])
def test_the_painted_share_is_one_outside_zero_beyond_the_band_and_falls_between(expand: int) -> None:
    share = plan((96, 64), Placement(160, 64), expand).painted_share[32]
    assert (share[96:] == 1).all()
    assert (share[: 96 - expand] == 0).all()
    band = share[96 - expand : 96]
    assert ((band > 0) & (band <= 1)).all()
    assert (np.diff(band) >= 0).all()


def test_the_latent_mask_takes_the_maximum_of_each_block() -> None:
    mask = np.zeros((16, 16), np.float32)
    mask[7, 8] = 1
    assert latent_mask(mask)[0, 0].tolist() == [[0, 1], [0, 0]]


def test_paste_back_keeps_known_pixels_byte_for_byte_and_takes_painted_ones_whole() -> None:
    rng = np.random.default_rng(1)
    known = rng.integers(0, 256, (4, 3, 3)).astype(np.uint8)
    painted = rng.integers(0, 256, (4, 3, 3)).astype(np.float32)
    share = np.array([[0, 0.5, 1]] * 4, np.float32)
    result = paste_back(painted, known, share)
    assert np.array_equal(result[:, 0], known[:, 0])
    assert np.array_equal(result[:, 2], painted[:, 2])
    assert np.abs(result[:, 1] - (known[:, 1] / 2 + painted[:, 1] / 2)).max() <= 0.5


SIDES = [
    ((100, 64), {"left": 28}, Placement(128, 64, 1.0, 28, 0)),
    ((100, 64), {"left": 20, "right": 20}, Placement(144, 64, 1.0, 20, 0)),
    ((100, 64), {"left": 20}, Placement(120, 64, 1.0, 20, 0)),
    ((101, 64), {"left": 20}, Placement(128, 64, 1.0, 27, 0)),
    ((64, 101), {"top": 8, "bottom": 3}, Placement(64, 112, 1.0, 0, 8)),
    ((101, 64), {"top": 8}, Placement(96, 72, 1.0, 0, 8)),
]


@pytest.mark.parametrize(("size", "sides", "placement"), SIDES)
def test_sides_make_a_canvas_of_multiples_of_8(
    size: tuple[int, int], sides: dict[str, int], placement: Placement
) -> None:
    assert Placement.from_sides(size, **sides) == placement


ASPECTS = [
    ((90, 90), "16:9", "center", Placement(160, 88, 1.0, 35, 0)),
    ((100, 100), "1:1", "center", Placement(96, 96, 1.0, 0, 0)),
    ((128, 64), "1:1", "top", Placement(128, 128, 1.0, 0, 0)),
    ((128, 64), "1:1", "bottom", Placement(128, 128, 1.0, 0, 64)),
    ((64, 64), "2:1", "right", Placement(128, 64, 1.0, 64, 0)),
]


@pytest.mark.parametrize(("size", "aspect", "anchor", "placement"), ASPECTS)
def test_an_aspect_ratio_extends_the_picture_around_its_anchor(
    size: tuple[int, int], aspect: str, anchor: str, placement: Placement
) -> None:
    assert Placement.from_aspect(size, aspect, anchor) == placement


def test_scale_comes_before_sides_and_aspect() -> None:
    assert Placement.from_sides((400, 200), left=64, scale=0.32) == Placement(192, 64, 0.32, 64, 0)
    assert Placement.from_aspect((400, 200), "1:1", "top", 0.32) == Placement(128, 128, 0.32, 0, 0)


@pytest.mark.parametrize("aspect", ["16", 1.5, "a:b", "0:1", "1:0", "1000:1", "nan:1", "16:9:4"])
def test_a_senseless_aspect_ratio_is_refused(aspect: object) -> None:
    with pytest.raises(RequestError, match="aspect must be two numbers like 16:9"):
        Placement.from_aspect((64, 64), aspect)
