"""Canvases larger than the model: levels, tiles, the anchor, and whole runs on a model of a few lines of numpy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintRequest, RequestError
from outpaint_engine.canvas import Box, tile_edge_ratio
from outpaint_engine.detail.anchor import anchored, low_frequencies
from outpaint_engine.detail.averaged import Averaged
from outpaint_engine.detail.levels import Level, factor, levels, work_size
from outpaint_engine.detail.resize import enlarged, shrunk, steepened
from outpaint_engine.detail.tiles import Tiles
from outpaint_engine.request import Detail
from outpaint_engine.samplers import SCHEDULERS
from outpaint_engine.schedule import Level as NoiseLevel

from ...conftest import toy_unet

Toy = Callable[..., OutpaintPipeline]
LARGE: dict[str, Any] = {
    "width": 256,
    "height": 192,
    "offset_x": 80,
    "offset_y": 64,
    "num_inference_steps": 5,
    "seed": 1,
}


@pytest.mark.parametrize(
    ("canvas", "side", "composed"),
    [
        ((1024, 1024), 512, (512, 512)),
        ((3000, 2000), 256, (312, 208)),
        ((2048, 1024), 512, (728, 360)),
        # Long ones keep half the side.
        ((4096, 256), 512, (4096, 256)),
        ((256, 256), 512, (256, 256)),
    ],
)
def test_a_canvas_is_composed_at_the_models_area(canvas: tuple[int, int], side: int, composed: tuple[int, int]) -> None:
    assert work_size(*canvas, side) == composed


def test_levels_grow_by_at_most_2_and_end_at_the_canvas() -> None:
    assert levels(1024, 1024, 256, 8) == [Level(512, 512, True), Level(1024, 1024, True)]
    assert levels(1024, 1024, 256, 1) == [Level(512, 512, True), Level(1024, 1024, False)]
    assert levels(1024, 1024, 512, 1) == [Level(1024, 1024, True)]
    assert levels(1024, 1024, 256, 0) == [Level(1024, 1024, False)]
    sizes = [(312, 208), *(level[:2] for level in levels(3000, 2000, 256, 8))]
    assert len(sizes) == 5 and sizes[-1] == (3000, 2000)
    assert all(large[0] / small[0] < 2.1 for small, large in zip(sizes, sizes[1:], strict=False))


@pytest.mark.parametrize("wrap", ["", "x", "xy"])
@pytest.mark.parametrize(("height", "width"), [(20, 47), (8, 64), (33, 16)])
def test_the_weights_of_all_tiles_add_up_to_1_everywhere(height: int, width: int, wrap: str) -> None:
    total = np.zeros((height, width))
    for tile in Tiles.over(height, width, 16, 4, wrap, 1.25).touching(np.ones((height, width), bool)):
        assert tile.weights.min() > 0
        assert tile.weights.shape[0] <= 20 and tile.weights.shape[1] <= 20
        total[tile.index] += tile.weights
    assert np.allclose(total, 1, atol=1e-6)


def test_only_tiles_that_touch_what_is_marked_are_taken() -> None:
    marked = np.zeros((64, 64), bool)
    marked[:, 60] = True
    tiles = Tiles.over(64, 64, 16, 4).touching(marked)
    assert tiles and all(tile.columns.start + len(tile.columns.places) == 64 for tile in tiles)


def test_the_average_of_tiles_is_the_least_squares_solution_of_multidiffusion() -> None:
    """Equation (5): each place takes the weighted mean of what the tiles over it say."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 24, 40)).astype(np.float32)
    tiles = Tiles.over(24, 40, 16, 4).touching(np.ones((24, 40), bool))
    answers = [rng.standard_normal((4, *tile.weights.shape)).astype(np.float32) for tile in tiles]
    queue = iter(answers)
    averaged = Averaged(lambda rows, t: np.stack([next(queue) for _ in rows]), tiles, None, 3)
    pauses = sum(1 for _ in averaged.steps(x, 5.0))
    assert pauses == averaged.calls == -(-len(tiles) // 3)
    total, weights = np.zeros((4, 24, 40)), np.zeros((24, 40))
    for tile, answer in zip(tiles, answers, strict=True):
        for row, y in enumerate(tile.rows.places):
            for column, place in enumerate(tile.columns.places):
                total[:, y, place] += tile.weights[row, column] * answer[:, row, column]
                weights[y, place] += tile.weights[row, column]
    assert np.allclose(averaged.predict(x, 5.0)[0], total / weights, atol=1e-5)


def test_a_linear_model_in_tiles_says_what_it_says_at_once() -> None:
    x = np.random.default_rng(1).standard_normal((1, 4, 24, 40)).astype(np.float32)
    tiles = Tiles.over(24, 40, 16, 4).touching(np.ones((24, 40), bool))
    averaged = Averaged(lambda rows, t: 0.5 * rows[:, :4] + rows[:, 4:5], tiles, np.ones((1, 1, 24, 40)), 2)
    assert np.allclose(averaged.predict(x, 1.0), 0.5 * x + 1, atol=1e-6)


def test_the_anchor_is_equation_8_of_ilvr() -> None:
    rng = np.random.default_rng(2)
    x, composition, noise = (rng.standard_normal((1, 4, 12, 20)).astype(np.float32) for _ in range(3))
    level, share = NoiseLevel.of_alpha(0.4), rng.random((12, 20)).astype(np.float32)
    noised = np.float32(0.4**0.5) * composition + np.float32(0.6**0.5) * noise
    expected = x + share * (low_frequencies(noised[0], 1) - low_frequencies(x[0], 1))
    assert np.allclose(anchored(composition, noise, share, 1)(x, level), expected, atol=1e-5)


def test_the_low_frequencies_are_a_box_twice_and_wrap_where_asked() -> None:
    spike = np.zeros((1, 9, 9), np.float32)
    spike[0, 4, 0] = 9 * 9
    wrapped = low_frequencies(spike, 1, "x")[0]
    assert np.allclose(wrapped[4, [7, 8, 0, 1, 2]], [3, 6, 9, 6, 3])
    assert np.allclose(low_frequencies(np.full((1, 9, 9), 5.0, np.float32), 2), 5)


def textured(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / 32
    return np.uint8(127 + 60 * np.stack([np.sin(3 * x + y), np.cos(5 * y), np.sin(x * y)], -1))


def test_a_window_of_an_enlarged_picture_is_that_of_the_whole() -> None:
    picture, size = textured(96, 144), (400, 250)
    whole = enlarged(picture, size, Box(0, 0, *size)).astype(int)
    window = enlarged(picture, size, Box(33, 71, 310, 200)).astype(int)
    assert np.abs(whole[71:200, 33:310] - window).max() <= 1


def test_an_enlarged_picture_that_wraps_goes_on_at_its_other_side() -> None:
    picture, turned = textured(96, 144), np.roll(textured(96, 144), 72, 1)
    across = enlarged(picture, (288, 192), Box(-144, 0, 144, 192), "x").astype(int)
    assert np.abs(across - enlarged(turned, (288, 192), Box(0, 0, 288, 192), "x")).max() <= 1


def test_shrinking_in_bands_is_the_mean_of_each_box() -> None:
    picture = textured(520, 64)
    means = picture.reshape(130, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk(picture, (16, 130)) - means).max() <= 1
    assert shrunk(picture[..., 0] > 127, (16, 130)).dtype == np.uint8


def test_steeper_edges_neither_overshoot_nor_change_an_even_slope() -> None:
    slope = np.repeat(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], 8, axis=0).repeat(3, axis=2)
    assert np.array_equal(steepened(slope, 2)[:, 2:-2], slope[:, 2:-2])
    edge = (
        np.interp(np.arange(50), [23, 27], [20, 220])
        .astype(np.uint8)[None, :, None]
        .repeat(8, axis=0)
        .repeat(3, axis=2)
    )
    steeper = steepened(edge, 2)
    assert steeper.min() >= edge.min() and steeper.max() <= edge.max()
    assert np.abs(np.diff(steeper, axis=1)).max() > 1.1 * np.abs(np.diff(edge.astype(int), axis=1)).max()


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("detail", ["auto", Detail(levels=3), Detail(levels=0), Detail(work_size=96, tile=96)])
@pytest.mark.parametrize("mask_expand", [0, 8])
def test_known_pixels_of_a_large_canvas_come_back_byte_for_byte(
    toy: Toy, picture: np.ndarray, channels: int, detail: Any, mask_expand: int
) -> None:
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[20:30, 20:30] = 0
    fields = {**LARGE, "detail": detail, "mask_expand": mask_expand}
    result = toy(channels)(image=np.dstack([picture, alpha]), **fields)
    out = np.asarray(result.images[0])
    assert out.shape == (192, 256, 3)
    kept = result.plan.painted_share[64:112, 80:144] == 0
    assert kept.sum() > 300
    assert np.array_equal(out[64:112, 80:144][kept], picture[kept])
    assert result.quality[0].changed_pixels == 0


def test_auto_leaves_canvases_up_to_one_and_a_half_times_the_models_side_alone(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy()
    fields = {"image": picture, "width": 96, "height": 96, "num_inference_steps": 2, "seed": 1}
    plain, off = pipe(**fields), pipe(**fields, detail="off")
    assert np.array_equal(plain.latents, off.latents)
    assert not any("composed" in note for note in plain.notes)
    assert any("composed at 64x64" in note for note in pipe(**{**fields, "width": 104}).notes) is (
        factor(104, 96, 64) > 1.5
    )


def test_the_notes_name_the_approximation_and_its_way_out(toy: Toy, picture: np.ndarray) -> None:
    note = toy().steps(OutpaintRequest(image=picture, **LARGE)).notes[-1]
    assert "composed at 72x56" in note and "refined in overlapping tiles at" in note and "detail off" in note


@pytest.mark.parametrize("channels", [4, 9])
def test_progress_counts_every_tile_of_every_level_and_previews(toy: Toy, picture: np.ndarray, channels: int) -> None:
    request = OutpaintRequest(image=picture, **LARGE, detail=Detail(levels=2), num_images=2)
    run = toy(channels).steps(request)
    seen = list(run)
    assert [progress.step for progress in seen] == list(range(1, len(seen) + 1))
    assert {progress.steps for progress in seen} == {len(seen)}
    assert seen[-1].preview().size[0] < 256 and list(seen[-1].pictures) == [1]
    assert [result.tile_edge_ratio is not None for result in run.result.quality] == [True, True]


@pytest.mark.parametrize("name", [scheduler.name for scheduler in SCHEDULERS])
def test_no_scheduler_asks_a_tile_twice(toy: Toy, picture: np.ndarray, name: str) -> None:
    calls = []

    def unet(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(1)
        return toy_unet(**feeds)

    result = toy(unet=unet)(image=picture, **{**LARGE, "num_inference_steps": 12}, scheduler=name)
    assert len(calls) == len(result.timings.steps) == len(result.timings.rows)
    run = toy().steps(OutpaintRequest(image=picture, **{**LARGE, "num_inference_steps": 12}, scheduler=name))
    vae_calls = sum(1 for _ in run) - len(calls)
    assert 0 < vae_calls < 10


def test_a_large_run_left_early_calls_nothing_more(toy: Toy, picture: np.ndarray) -> None:
    calls = []

    def unet(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(1)
        return toy_unet(**feeds)

    run = iter(toy(unet=unet).steps(OutpaintRequest(image=picture, **LARGE)))
    shown = None
    while len(calls) < 7:
        shown = next(run).shown
    del run
    assert shown is not None and len(calls) == 7


def test_several_large_pictures_equal_single_ones(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy(9)
    both = pipe(image=picture, **LARGE, num_images=2)
    second = pipe(image=picture, **{**LARGE, "seed": 2})
    assert np.array_equal(np.asarray(both.images[1]), np.asarray(second.images[0]))


def test_known_places_of_a_4_channel_model_end_as_the_picture_and_others_move(toy: Toy, picture: np.ndarray) -> None:
    """With the toy's autoencoder, whose latents are means of blocks."""
    gentle, strong = (
        np.asarray(toy(4)(image=picture, **LARGE, detail=Detail(strength=strength)).images[0], int)
        for strength in (0.2, 1.0)
    )
    assert not np.array_equal(gentle, strong)


REFUSED = [
    (
        {"width": 16_384, "height": 16_384},
        "The canvas of 16384x16384 has more than 200,000,000 pixels. Make it smaller.",
    ),
    ({"width": 8192, "height": 512, "detail": "off"}, "A canvas of 8192x512 cannot be painted at once"),
    ({"detail": "much"}, "detail must be one of auto, on, off; not 'much'."),
    ({"wrap": "z"}, "wrap must be one of '', x, y, xy; not 'z'."),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        OutpaintRequest(image=None, **fields)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tile": 100}, "detail's tile must be a multiple of 8, not 100."),
        ({"tile": 64, "overlap": 40}, "detail's overlap must be at most half the tile of 64, not 40."),
        ({"strength": 0}, "detail's strength must be a number from 0.01 to 1, not 0."),
        ({"levels": 9}, "detail's levels must be a whole number from 0 to 8, not 9."),
    ],
)
def test_a_detail_outside_its_range_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Detail(**fields)


def test_the_tile_edge_figure_sees_a_line_at_a_tile_and_only_there(toy: Toy, picture: np.ndarray) -> None:
    plan = toy().steps(OutpaintRequest(image=picture, **LARGE)).plan
    plan = replace(plan, unknown=np.ones_like(plan.unknown))
    flat = np.full((192, 256, 3), 100, np.uint8)
    assert tile_edge_ratio(flat, plan, {64}, {32}) == pytest.approx(1)
    flat[64:] += 10
    assert tile_edge_ratio(flat, plan, {64}, {32}) > 10  # type: ignore[operator]
    assert tile_edge_ratio(flat, plan, {72}, {32}) < 1  # type: ignore[operator]
