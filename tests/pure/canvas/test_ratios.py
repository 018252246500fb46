"""The figures that benchmarks are judged by: paired ratios, and what the regression check calls slower."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra `cpu`)")

from benchmarks.ratios import Ratio, paired_ratio  # noqa: E402
from benchmarks.regression import Allowed, check, recorded, slower  # noqa: E402
from benchmarks.task import SideName  # noqa: E402

ALLOWED = {"step_to_plain_call": Allowed(1.0, 0.1), "picture_to_plain_calls": Allowed(1.2, 0.1)}
FINE = {"step_to_plain_call": Ratio(1.05, 1.0, 1.1), "picture_to_plain_calls": Ratio(1.2, 1.1, 1.3)}
SLOW = {**FINE, "step_to_plain_call": Ratio(1.3, 1.2, 1.4)}
OTHER = {**FINE, "picture_to_plain_calls": Ratio(1.6, 1.5, 1.7)}


def test_what_slows_both_sides_of_a_round_leaves_the_ratio_alone() -> None:
    base = np.array([1.0, 5.0, 1.0, 9.0, 1.0])
    assert paired_ratio(2 * base, base) == Ratio(2.0, 2.0, 2.0)


def test_the_interval_holds_the_median_and_widens_with_the_noise() -> None:
    draw = np.random.default_rng(1)
    calm, wild = (paired_ratio(np.exp(noise * draw.standard_normal(40)), np.ones(40)) for noise in (0.01, 0.3))
    assert calm.low < calm.ratio < calm.high and wild.high - wild.low > 5 * (calm.high - calm.low)


def test_the_margin_is_four_times_the_larger_noise() -> None:
    steady = [{"step": Ratio(1.0, 0.9, 1.1)}] * 3
    apart = [{"step": Ratio(value, value, value)} for value in (0.9, 1.0, 1.1)]
    assert recorded(steady)["step"] == Allowed(1.0, 0.4) and recorded(apart)["step"] == Allowed(1.0, 0.4)


@pytest.mark.parametrize(
    ("found", "expected"), [(FINE, []), (SLOW, ["step_to_plain_call"]), (OTHER, ["picture_to_plain_calls"])]
)
def test_slower_is_an_interval_that_lies_above_the_margin(found: dict[str, Ratio], expected: list[str]) -> None:
    assert slower(found, ALLOWED) == expected


@pytest.mark.parametrize(
    ("sessions", "code", "taken"),
    [([FINE], 0, 1), ([SLOW, FINE], 0, 2), ([SLOW, OTHER], 0, 2), ([SLOW, SLOW, SLOW], 1, 3)],
)
def test_only_the_same_ratio_three_times_in_a_row_fails(
    sessions: list[dict[str, Ratio]], code: int, taken: int
) -> None:
    left = list(sessions)
    assert check(lambda: left.pop(0), ALLOWED) == code and len(sessions) - len(left) == taken


def test_a_side_is_read_with_its_options() -> None:
    name = SideName.read("diffusers:cuda:fp16:compile=true")
    assert (name.kind, name.device, name.precision) == ("diffusers", "cuda", "fp16")
    assert name.taken(compile=False) == {"compile": True}
    with pytest.raises(ValueError, match="no option compile"):
        name.taken()


@pytest.mark.parametrize("text", ["ours", "ours:ort-cpu", "ours:ort-cpu:fp32:fast"])
def test_a_side_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="KIND:DEVICE:PRECISION"):
        SideName.read(text)
