"""An engine for each shape, of which a few are kept."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from outpaint_engine.engines import Engine, FunctionEngine
from outpaint_engine.engines.fixed_shapes import FixedShapesEngine
from outpaint_engine.errors import EngineError
from outpaint_engine.tensors import Shapes

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


def test_an_engine_that_is_being_made_keeps_nobody_waiting_but_those_who_need_it() -> None:
    begun, go = threading.Event(), threading.Event()
    workshop = Workshop()

    def slowly(shapes: Shapes | None) -> Engine:
        if shapes == WIDE:
            begun.set()
            assert go.wait(10)
        return workshop(shapes)

    engine = FixedShapesEngine("unet", slowly, [SMALL])
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(run, engine, 3) for _ in range(2)]
        assert begun.wait(10)
        run(engine, 2)
        go.set()
        for each in waiting:
            each.result(10)
    assert workshop.made == [SMALL, WIDE]


def test_an_engine_that_could_not_be_made_is_tried_again() -> None:
    workshop, failures = Workshop(), [EngineError("no memory")]

    def once_broken(shapes: Shapes | None) -> Engine:
        if shapes == WIDE and failures:
            raise failures.pop()
        return workshop(shapes)

    engine = FixedShapesEngine("unet", once_broken, [SMALL])
    with pytest.raises(EngineError, match="no memory"):
        run(engine, 3)
    run(engine, 3)


def test_a_closed_engine_says_so_and_makes_nothing() -> None:
    workshop = Workshop()
    engine = FixedShapesEngine("unet", workshop, [SMALL])
    engine.close()
    with pytest.raises(EngineError, match="unet was closed"):
        run(engine, 3)
    assert workshop.made == [SMALL]
