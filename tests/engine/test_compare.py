"""`python -m benchmarks.compare` as a real process: sides take turns, failing ones are said, the result is complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra `cpu`)")

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "goldens" / "tiny-9"
QUICK = ("--engines", str(TINY), "--checkpoint", "unused", "--size", "64x64", "--steps", "2", "--rounds", "3")


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.compare", *QUICK, "--pause", "0", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_sides_take_turns_and_are_compared_with_the_first(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    sides = ("--side", "ours:ort-cpu:fp32", "--side", "ours:ort-cpu:auto:threads=1")
    done = compare(*sides, "--note", "a note", "--out", str(out))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert (result["schema"], result["note"], result["task"]["steps"]) == ("outpaint-compare/1", "a note", 2)
    first, second = result["sides"]
    assert first["step_ratio"] == {"ratio": 1.0, "low": 1.0, "high": 1.0} and first["latents_difference"] == 0
    assert second["side"] == "ours:ort-cpu:auto:threads=1" and second["latents_difference"] < 1e-5
    assert len(second["step_seconds"]) == len(second["picture_seconds"]) == 3 and second["peak_rss"] > 20e6
    assert len(result["orders"]) == 4 and all(sorted(order) == sorted(sides[1::2]) for order in result["orders"])
    assert "onnxruntime" in first["environment"]["versions"] and first["facts"]["backend"] == "ort-cpu"
    assert "a note" in done.stdout and "ours:ort-cpu:auto:threads=1" in done.stdout


def test_an_approximate_side_states_its_gain_and_its_loss(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    sides = ("--side", "ours:ort-cpu:fp32", "--side", "ours:ort-cpu:fp32:reuse=careful")
    done = compare(*sides, "--steps", "4", "--rounds", "2", "--warmup", "0", "--out", str(out))
    assert done.returncode == 0, done.stderr
    exact, approximate = json.loads(out.read_text())["sides"]
    assert (exact["track"], approximate["track"]) == ("exact", "approximate")
    found = approximate["beside_exact"]
    assert found["side"] == "ours:ort-cpu:fp32" and found["times_as_fast"]["ratio"] > 0
    assert len(found["decibels"]["each"]) == 2 and 10 < found["decibels"]["worst"] < 99
    assert "approximate, by processor time" in done.stdout


def test_a_fresh_process_and_plain_sessions_are_sides_too() -> None:
    sides = ("--side", "fresh:ort-cpu:fp32", "--side", "onnxruntime:cpu:fp32:threads=1")
    done = compare(*sides, "--rounds", "1", "--warmup", "0")
    assert done.returncode == 0, done.stderr
    fresh, plain = done.stdout.splitlines()[1:3]
    # A fresh process has no time of a step to compare with.
    assert fresh.startswith("fresh:") and fresh.split()[1:3] == ["-", "-"]
    assert plain.startswith("onnxruntime:") and float(plain.split()[1]) > 0 and plain.split()[-1] == "-"


FAILING = ("--side", "ours:abacus:fp32", "--side", "optimum:cpu:fp32", "--environments", "nowhere")


def test_a_side_that_does_not_load_ends_the_comparison() -> None:
    done = compare(*FAILING)
    assert done.returncode == 1 and "Error: ours:abacus:fp32: BackendUnavailable" in done.stderr


def test_sides_that_do_not_load_can_be_left_out_and_the_reason_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = compare(*FAILING, "--side", "ours:ort-cpu:fp32", "--leave-out-failing", "--out", str(out))
    assert done.returncode == 0, done.stderr
    left_out = json.loads(out.read_text())["left_out"]
    assert "BackendUnavailable" in left_out["ours:abacus:fp32"]
    assert "nowhere/optimum/bin/python does not exist" in left_out["optimum:cpu:fp32"]
    assert "left out: optimum:cpu:fp32" in done.stdout


def test_without_any_side_there_is_nothing_to_compare() -> None:
    done = compare(*FAILING, "--leave-out-failing")
    assert done.returncode == 1 and "No side is left to time" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--side", "magic:cpu:fp32"), "There is no kind 'magic'"),
        (("--side", "ours:cpu"), "KIND:DEVICE:PRECISION"),
        (("--side", "ours:ort-cpu:fp32", "--size", "100x64"), "two multiples of 8"),
        (("--side", "ours:ort-cpu:fp32", "--steps", "1"), "at least 2"),
        (("--side", "ours:ort-cpu:fp32", "--out", "missing/result.json"), "'missing' does not exist"),
    ],
)
def test_bad_options_are_named(arguments: tuple[str, ...], words: str) -> None:
    done = compare(*arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
