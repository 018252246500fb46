"""An engine for each shape, of which a few are kept; and the shapes that a canvas means for each part."""

import numpy as np
import pytest

from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engines import Bucket, Engine, FunctionEngine
from outpaint_engine.engines.fixed_shapes import FixedShapesEngine, Shapes, bucket_shapes
from outpaint_engine.errors import EngineError

SMALL, WIDE, TALL = ((("x", (1, side)),) for side in (2, 3, 4))


class Workshop:
    """Makes engines and remembers for which shapes."""

    def __init__(self) -> None:
        self.made: list[Shapes | None] = []

    def __call__(self, shapes: Shapes | None) -> Engine:
        self.made.append(shapes)
        return FunctionEngine(lambda x: {"y": x * 2}, {"x": ("rows", "width")}, {"y": ("rows", "width")})


def run(engine: Engine, width: int) -> None:
    np.testing.assert_array_equal(engine.run({"x": np.ones((1, width), np.float32)})["y"], np.full((1, width), 2.0))


def test_engines_are_made_for_the_shapes_to_be_ready_for_and_for_others_when_they_come() -> None:
    workshop = Workshop()
    engine = FixedShapesEngine("unet", workshop, [SMALL])
    assert workshop.made == [SMALL]
    run(engine, 2)
    run(engine, 3)
    assert workshop.made == [SMALL, WIDE]


def test_the_engine_that_was_used_longest_ago_makes_room() -> None:
    workshop = Workshop()
    engine = FixedShapesEngine("unet", workshop, [SMALL])
    for width in (3, 2, 4, 2, 3):
        run(engine, width)
    assert workshop.made == [SMALL, WIDE, TALL, WIDE]


def test_without_a_shape_to_be_ready_for_the_first_engine_is_one_of_free_shapes() -> None:
    workshop = Workshop()
    FixedShapesEngine("unet", workshop, [])
    assert workshop.made == [None]


def test_no_engine_is_made_for_what_the_graph_does_not_take() -> None:
    workshop = Workshop()
    engine = FixedShapesEngine("unet", workshop, [SMALL])
    with pytest.raises(EngineError, match="unet takes x as float32"):
        engine.run({"x": np.ones((1, 1, 2), np.float32)})
    assert workshop.made == [SMALL]


CASES = [
    ("text_encoder", {"input_ids": (1, 77)}),
    ("unet", {"sample": (4, 9, 32, 64), "timestep": (4,), "encoder_hidden_states": (4, 77, 32)}),
    ("vae_encoder", {"sample": (1, 3, 256, 512)}),
    ("vae_decoder", {"latent_sample": (1, 4, 32, 64)}),
]


@pytest.mark.parametrize(("part", "expected"), CASES, ids=PARTS)
def test_a_canvas_means_these_shapes(part: str, expected: dict[str, tuple[int, ...]], tiny: EngineSet) -> None:
    found = bucket_shapes(part, tiny.artifact(part).inputs, [Bucket(512, 256, 4)], 8)
    assert [dict(shapes) for shapes in found] == [expected]


def test_canvases_of_the_same_shapes_count_once_and_an_unknown_graph_has_none(tiny: EngineSet) -> None:
    inputs = tiny.artifact("text_encoder").inputs
    assert len(bucket_shapes("text_encoder", inputs, [Bucket(512, 256), Bucket(64, 64)], 8)) == 1
    assert bucket_shapes("unet", (), [Bucket(512, 256)], 8) == []


def test_a_scalar_input_stays_one() -> None:
    inputs = [{"name": "timestep", "dtype": "int64", "shape": []}]
    assert bucket_shapes("unet", inputs, [Bucket(64, 64)], 8) == [(("timestep", ()),)]
