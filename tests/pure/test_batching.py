"""Calls from several threads become one, and nobody's answer changes."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from outpaint_engine import EngineError, FunctionEngine
from outpaint_engine.engines import BatchingEngine
from outpaint_engine.engines.batching import RowBound
from outpaint_engine.tensors import Array


class Recorder:
    """Doubles its input; `rows` lists the batch sizes; each call takes `seconds`."""

    def __init__(self, seconds: float = 0.02, fails_above: int = 99) -> None:
        self.rows: list[int] = []
        self._seconds, self._fails_above = seconds, fails_above

    def __call__(self, x: Array) -> dict[str, Array]:
        self.rows.append(len(x))
        time.sleep(self._seconds)
        if len(x) > self._fails_above or (x < 0).any():
            raise EngineError("too much")
        return {"y": 2 * x}


def engine(function: Callable[..., dict[str, Array]], first: int | str = "B", **bounds: Any) -> BatchingEngine:
    return BatchingEngine(FunctionEngine(function, {"x": (first, "n")}, {"y": (first, "n")}), **bounds)


def together(merged: BatchingEngine, feeds: list[Array], rounds: int = 1) -> list[Array]:
    """Each thread calls with its own array, `rounds` times; the last answers."""
    start = threading.Barrier(len(feeds))

    def caller(x: Array) -> Array:
        start.wait()
        for _ in range(rounds):
            answer = merged.run({"x": x})["y"]
        return answer

    with ThreadPoolExecutor(len(feeds)) as pool:
        return list(pool.map(caller, feeds))


def test_everybody_gets_the_answer_to_their_own_call() -> None:
    feeds = [np.full((1 + index % 2, 3), index, np.float32) for index in range(6)]
    for fed, answer in zip(feeds, together(engine(Recorder()), feeds, rounds=5), strict=True):
        np.testing.assert_array_equal(answer, 2 * fed)


def test_calls_that_come_in_rounds_are_merged() -> None:
    recorder = Recorder()
    together(engine(recorder), [np.ones((2, 3), np.float32)] * 4, rounds=10)
    assert sum(recorder.rows) == 4 * 10 * 2
    assert len(recorder.rows) <= 14
    assert max(recorder.rows) == 8


@pytest.mark.parametrize("most", [4, lambda feeds: 12 // feeds["x"].shape[1]])
def test_a_batch_has_at_most_the_given_rows(most: RowBound) -> None:
    recorder = Recorder()
    together(engine(recorder, max_rows=most), [np.ones((2, 3), np.float32)] * 5, rounds=4)
    assert max(recorder.rows) == 4


def test_calls_run_beside_each_other_in_as_many_lanes_as_there_are() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def double(x: Array) -> dict[str, Array]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        return {"y": 2 * x}

    feeds = [np.full((1, 3), index, np.float32) for index in range(6)]
    answers = together(engine(double, max_rows=2, lanes=2, patience=0), feeds, rounds=5)
    assert most == 2
    for fed, answer in zip(feeds, answers, strict=True):
        np.testing.assert_array_equal(answer, 2 * fed)


def test_other_shapes_are_run_on_their_own() -> None:
    recorder = Recorder()
    feeds = [np.ones((1, width), np.float32) for width in (3, 5, 3, 5)]
    answers = together(engine(recorder), feeds, rounds=3)
    assert [answer.shape for answer in answers] == [(1, 3), (1, 5), (1, 3), (1, 5)]


def test_a_lone_caller_never_waits() -> None:
    merged = engine(Recorder(seconds=0), patience=5.0)
    began = time.monotonic()
    for _ in range(20):
        merged.run({"x": np.ones((2, 3), np.float32)})
    assert time.monotonic() - began < 1


def test_who_has_left_is_waited_for_once_at_most() -> None:
    merged = engine(Recorder(), patience=0.2)
    together(merged, [np.ones((1, 3), np.float32)] * 3, rounds=2)
    began = time.monotonic()
    for _ in range(5):
        merged.run({"x": np.ones((1, 3), np.float32)})
    assert time.monotonic() - began < 0.2 + 5 * 0.02 + 0.3


def test_a_graph_with_a_fixed_batch_is_run_one_call_at_a_time() -> None:
    recorder = Recorder()
    together(engine(recorder, first=2), [np.ones((2, 3), np.float32)] * 4)
    assert recorder.rows == [2, 2, 2, 2]


def test_a_batch_that_is_too_much_is_run_call_by_call() -> None:
    answers = together(engine(Recorder(fails_above=2)), [np.ones((2, 3), np.float32)] * 4, rounds=3)
    assert all((answer == 2).all() for answer in answers)


def test_one_callers_error_is_its_own() -> None:
    merged = engine(Recorder())
    outcomes: list[object] = []

    def caller(sign: int) -> None:
        try:
            outcomes.append(float(merged.run({"x": np.full((1, 3), sign, np.float32)})["y"][0, 0]))
        except EngineError as error:
            outcomes.append(str(error))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(caller, (1, -1, 1)))
    assert sorted(map(str, outcomes)) == ["2.0", "2.0", "too much"]


def test_an_answer_is_the_callers_to_change() -> None:
    feeds = [np.ones((1, 3), np.float32)] * 2
    first, second = together(engine(Recorder()), feeds, rounds=3)
    first += 100
    assert (second == 2).all()


@pytest.mark.parametrize(("wanted", "names"), [(None, ["y"]), (("y",), ["y"]), ((), [])])
def test_only_the_outputs_asked_for_are_given(wanted: tuple[str, ...] | None, names: list[str]) -> None:
    assert list(engine(Recorder()).run({"x": np.ones((1, 3), np.float32)}, wanted)) == names


@pytest.mark.parametrize("name", ["inputs", "outputs", "device", "precision"])
def test_it_says_of_itself_what_the_engine_beneath_says(name: str) -> None:
    inner = FunctionEngine(Recorder(), {"x": ("B", 3)}, {"y": ("B", 3)})
    assert getattr(BatchingEngine(inner), name) == getattr(inner, name)
