"""Canvases whose sides meet: the engine around a graph, the plan, and whole runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline, Placement, RequestError, plan
from outpaint_engine.engines.wrapping import WrappingEngine
from outpaint_engine.request import Detail

Toy = Callable[..., OutpaintPipeline]


def blurred(sample: np.ndarray) -> dict[str, np.ndarray]:
    """Each place with its neighbours; 0 beyond the border, as a convolution has it."""
    padded = np.pad(sample, [(0, 0), (0, 0), (1, 1), (1, 1)])
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return {"out": rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]}


def around(values: np.ndarray, wrap: str) -> np.ndarray:
    """The same sum on a canvas that goes on at its other side in the directions `wrap`."""
    for axis, direction in ((2, "y"), (3, "x")):
        before, after = np.roll(values, 1, axis), np.roll(values, -1, axis)
        if direction not in wrap:
            first, last = ([slice(None)] * 4 for _ in range(2))
            first[axis], last[axis] = slice(0, 1), slice(-1, None)
            before[tuple(first)], after[tuple(last)] = 0, 0
        values = before + values + after
    return values


@pytest.mark.parametrize("wrap", ["x", "y", "xy"])
@pytest.mark.parametrize("turning", [False, True])
def test_a_graph_is_run_as_if_its_picture_went_on_at_its_other_side(wrap: str, turning: bool) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 10, 14)).astype(np.float32)
    engine = FunctionEngine(blurred, {"sample": ("B", 3, "h", "w")}, {"out": ("B", 3, "h", "w")})
    wrapping = WrappingEngine(engine, wrap, 2, turning)
    for _ in range(3):
        assert np.allclose(wrapping.run({"sample": values})["out"], around(values, wrap), atol=1e-5)


def test_an_output_of_another_resolution_is_cut_to_its_own_margin() -> None:
    def larger(latent_sample: np.ndarray) -> dict[str, np.ndarray]:
        return {"sample": latent_sample.repeat(8, axis=2).repeat(8, axis=3)}

    engine = FunctionEngine(larger, {"latent_sample": ("B", 1, "h", "w")}, {"sample": ("B", 1, "H", "W")})
    values = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)
    found = WrappingEngine(engine, "x", 3, turning=True).run({"latent_sample": values})["sample"]
    assert np.array_equal(found, larger(values)["sample"])


def test_the_band_goes_on_at_the_other_side() -> None:
    """The picture touches the left border, whose other side is painted."""
    one_way, around_it = (plan((64, 64), Placement(128, 64), 8, None, wrap) for wrap in ("", "x"))
    assert one_way.mask[:, :8].max() == 0 and around_it.mask[:, :8].min() == 1
    assert np.array_equal(around_it.painted_share[:, :64], around_it.painted_share[:, 63::-1])


@pytest.mark.parametrize(
    ("canvas", "wrap"), [((64, 128), "x"), ((64, 128), "xy"), ((128, 64), "y")], ids=["x", "xy", "y"]
)
def test_a_picture_that_reaches_from_side_to_side_cannot_wrap(canvas: tuple[int, int], wrap: str) -> None:
    with pytest.raises(RequestError, match=r"its own sides do not meet\. Use a larger canvas or a smaller scale"):
        plan((64, 64), Placement(*canvas), 8, None, wrap)


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("wrap", ["x", "xy"])
@pytest.mark.parametrize("detail", ["off", Detail(levels=2)])
def test_known_pixels_of_a_canvas_that_wraps_come_back_byte_for_byte(
    toy: Toy, picture: np.ndarray, channels: int, wrap: str, detail: Any
) -> None:
    fields = {"width": 192, "height": 160, "offset_x": 0, "offset_y": 40, "num_inference_steps": 4, "seed": 1}
    result = toy(channels)(image=picture, **fields, wrap=wrap, detail=detail)
    assert np.array_equal(np.asarray(result.images[0])[48:80, 8:56], picture[8:40, 8:56])
    assert result.quality[0].changed_pixels == 0
