"""The two tracks of a comparison: what an approximate side is held to, and what is said of it."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("tqdm")

from benchmarks.contest import Side  # noqa: E402
from benchmarks.sides.engine_set import load  # noqa: E402
from benchmarks.task import SideName, Task  # noqa: E402
from benchmarks.tracks import approximate_lines, beside_exact  # noqa: E402
from outpaint_engine import RequestError  # noqa: E402


def side(name: str, seconds: float, level: int, folder: Path) -> Side:
    """Two rounds, each with a painted area of one colour."""
    paths = [folder / f"{name.replace(':', '-')}-{number}.npy" for number in range(2)]
    for path in paths:
        np.save(path, np.full((5, 3), level, np.uint8))
    return Side(SideName.read(name), Mock(), turns=[{"cpu": seconds}] * 2, painted=paths)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("ours:ort-cpu:fp32:threads=1:reuse=fast", "ours:ort-cpu:fp32:threads=1"),
        ("ours:ort-cpu:fp32:speed=fast", "ours:ort-cpu:fp32"),
        ("diffusers:cpu:fp32:deepcache=3", "diffusers:cpu:fp32"),
        ("diffusers:cpu:bf16:compile=true", "diffusers:cpu:bf16:compile=true"),
    ],
)
def test_the_exact_run_of_a_side_is_itself_without_its_approximations(text: str, exact: str) -> None:
    assert SideName.read(text).exact == exact


def test_a_side_of_an_unknown_speed_is_told_the_names_there_are() -> None:
    with pytest.raises(RequestError, match="speed must be one of exact, balanced, fast; not 'warp'"):
        load(SideName.read("ours:ort-cpu:fp32:speed=warp"), Task("", "demo", 64, 64))


def test_an_approximate_side_is_compared_with_its_own_exact_run_and_no_other(tmp_path: Path) -> None:
    other, own = side("ours:ort-cpu:fp32", 9.0, 0, tmp_path), side("diffusers:cpu:fp32", 3.0, 100, tmp_path)
    cached = side("diffusers:cpu:fp32:deepcache=2", 2.0, 101, tmp_path)
    found = beside_exact(cached, [other, own, cached])["beside_exact"]
    assert found["side"] == "diffusers:cpu:fp32" and found["times_as_fast"]["ratio"] == 1.5
    assert found["decibels"] == {"mean": 48.13, "worst": 48.13, "each": [48.13, 48.13]}
    assert beside_exact(own, [other, own, cached]) == {"track": "exact"}


def test_without_the_exact_run_neither_gain_nor_loss_is_stated(tmp_path: Path) -> None:
    alone = side("diffusers:cpu:fp32:deepcache=2", 2.0, 101, tmp_path)
    found = beside_exact(alone, [alone])
    assert found == {"track": "approximate"}
    heading, line = approximate_lines([{"side": alone.name.text, "cpu_seconds": [2.0], "cpu_ratio": None, **found}])
    assert "times as fast" in heading and "its exact run is no side" in line


def test_where_all_sides_are_exact_there_is_no_second_table() -> None:
    assert approximate_lines([]) == []
