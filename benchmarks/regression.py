"""Says whether the demo engine set got slower beside plain ONNX Runtime, by ratios that travel between machines.

    python -m benchmarks.regression            check against benchmarks/baseline.json; exit code 1 if it got slower
    python -m benchmarks.regression --record   write that file anew, after the demo or the speed changed on purpose

One thread, so that the number of cores does not matter; on another kind of processor than the baseline's, ratios are
shown and not judged. What is compared with the baseline is the lower end of a ratio's 95 % interval, so a noisy machine
does not fail; a ratio is slower only if three contests in a row say so.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from outpaint_engine.bench.environment import read_environment
from outpaint_engine.engine_set import EngineSet

from .contest import Contest, Rounds
from .ratios import Ratio, paired_ratio
from .task import SideName, Task

BASELINE = Path(__file__).parent / "baseline.json"
SIDES = ("ours:ort-cpu:fp32:threads=1", "onnxruntime:cpu:fp32:threads=1")
ROUNDS, CONTESTS, ATTEMPTS = Rounds(warmup=1, counted=15, pause=0), 5, 3
STEPS = 8
NOISES = 4
"""How many times the measured noise a ratio may be above its baseline."""
MEANING = {
    "outside_to_step": "time outside the UNet's engine, of a step",
    "step_to_plain_call": "a step, to a session's own call of the UNet",
    "picture_to_plain_calls": "a picture, to sessions' own calls of all parts",
}


class Allowed(NamedTuple):
    """A ratio's baseline, and how far the lower end of what is measured may lie above it."""

    ratio: float
    margin: float


def measured(contest: Contest) -> dict[str, Ratio]:
    """The three ratios of one more set of rounds."""
    for side in contest.sides:
        side.turns.clear()
    contest.run(ROUNDS)
    ours, plain = (side.turns for side in contest.sides)

    def ratio(over: list[dict[str, Any]], name: str, under: list[dict[str, Any]], other: str) -> Ratio:
        return paired_ratio([turn[name] for turn in over], [turn[other] for turn in under])

    return {
        "outside_to_step": ratio(ours, "outside", ours, "step"),
        "step_to_plain_call": ratio(ours, "step", plain, "step"),
        "picture_to_plain_calls": ratio(ours, "picture", plain, "picture"),
    }


def recorded(contests: list[dict[str, Ratio]]) -> dict[str, Allowed]:
    """For each ratio the median of several contests, and `NOISES` times the larger of two noises.

    One is the contests' standard deviation, the other the mean half of their intervals.
    """
    allowed = {}
    for name in contests[0]:
        ratios = [each[name] for each in contests]
        spread = float(np.std([ratio.ratio for ratio in ratios], ddof=1))
        half = float(np.mean([(ratio.high - ratio.low) / 2 for ratio in ratios]))
        allowed[name] = Allowed(median(ratio.ratio for ratio in ratios), round(NOISES * max(spread, half), 5))
    return allowed


def slower(found: Mapping[str, Ratio], allowed: Mapping[str, Allowed]) -> list[str]:
    """The ratios whose whole interval lies above what is allowed."""
    return [name for name, ratio in found.items() if ratio.low > allowed[name].ratio + allowed[name].margin]


def check(measure: Callable[[], dict[str, Ratio]], allowed: Mapping[str, Allowed]) -> int:
    """Exit code 1 if the same ratio is above its baseline in every one of `ATTEMPTS` contests."""
    suspects = set(allowed)
    for _ in range(ATTEMPTS):
        found = measure()
        for name, ratio in found.items():
            print(f"{MEANING[name]:48}{ratio}  allowed {allowed[name].ratio:.4f} + {allowed[name].margin:.4f}")
        suspects &= set(slower(found, allowed))
        if not suspects:
            return 0
    print(
        f"Slower than the baseline, {ATTEMPTS} times in a row: {', '.join(MEANING[name] for name in sorted(suspects))}."
    )
    return 1


def judged(contest: Contest, baseline: Mapping[str, Any]) -> int:
    """Check where the processor is the baseline's kind; elsewhere show the ratios."""
    here, there = asdict(read_environment()), baseline["environment"]
    if (here["cpu"], list(here["cpu_flags"])) == (there["cpu"], there["cpu_flags"]):
        allowed = {name: Allowed(**values) for name, values in baseline["ratios"].items()}
        return check(lambda: measured(contest), allowed)
    print(f"The baseline is of {there['cpu']} with {' '.join(there['cpu_flags'])}.")
    print("This is another processor, where the same code has other ratios. They are shown, not judged:")
    print("\n".join(f"{MEANING[name]:48}{ratio}" for name, ratio in measured(contest).items()))
    print("To judge here: python -m benchmarks.regression --record")
    return 0


def record(contest: Contest, engine_set: EngineSet) -> None:
    """Write the baseline anew."""
    allowed = recorded([measured(contest) for _ in range(CONTESTS)])
    content = {
        "engine_set": engine_set.digest,
        "ratios": {name: each._asdict() for name, each in allowed.items()},
        "environment": asdict(read_environment()),
    }
    BASELINE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, each in allowed.items():
        print(f"{MEANING[name]:48}{each.ratio:.4f} + {each.margin:.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the baseline anew")
    given = parser.parse_args()
    engine_set = EngineSet.open("demo")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    if not given.record and baseline["engine_set"] != engine_set.digest:
        print("The baseline is another demo set's. Write it anew: python -m benchmarks.regression --record")
        return 1
    side = engine_set.native_size
    task = Task("", str(engine_set.folder), side, side, steps=STEPS)
    with tempfile.TemporaryDirectory() as scratch, Contest(task, Path(), Path(scratch)) as contest:
        for name in SIDES:
            contest.prepare(SideName.read(name), may_fail=False)
        if given.record:
            record(contest, engine_set)
            return 0
        return judged(contest, baseline)


if __name__ == "__main__":
    sys.exit(main())
