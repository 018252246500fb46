"""Runs several sides in turns, on the same weights, noise, mask and steps, and prints how their times compare.

    python -m benchmarks.compare --checkpoint MODEL/diffusers --engines MODEL/engines \\
        --side ours:ort-cpu:fp32 --side diffusers:cpu:fp32 --side optimum:cpu:fp32

Every side is a process of its own, in the environment that it needs, and all stay loaded. In each round every side
paints one picture, in an order that is drawn anew. Ratios are to the first side. See benchmarks/README.md.
"""

import argparse
import json
import re
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from outpaint_engine.bench.environment import read_environment

from .contest import Contest, Rounds, SideFailed
from .ratios import Ratio, paired_ratio
from .sides import KINDS
from .task import SideName, Task
from .tracks import approximate_lines, beside_exact

SCHEMA = "outpaint-compare/1"


def main() -> int:
    given = arguments()
    if given.out and not given.out.parent.is_dir():
        print(f"The folder {str(given.out.parent)!r} does not exist: make it first.", file=sys.stderr)
        return 2
    try:
        content = compared(given)
    except SideFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for line in table(content):
        print(line)
    if given.out:
        given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def compared(given: argparse.Namespace) -> dict[str, Any]:
    task = Task(
        str(given.checkpoint.resolve()),
        str(given.engines.resolve()),
        *given.size,
        scheduler=given.scheduler,
        steps=given.steps,
        guidance_scale=given.guidance_scale,
        scenes=given.scenes,
    )
    environment = asdict(read_environment())
    rounds = Rounds(given.warmup, given.rounds, given.pause)
    with tempfile.TemporaryDirectory() as scratch, Contest(task, given.environments, Path(scratch)) as contest:
        for name in given.side:
            contest.prepare(name, may_fail=given.leave_out_failing)
        contest.run(rounds)
        return result(contest, environment, given)


def arguments() -> argparse.Namespace:
    kinds = "\n".join(f"  {name:14} {kind.what}" for name, kind in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Time several sides in turns.",
        epilog=f"kinds of sides:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--side", type=side_name, action="append", required=True, help="KIND:DEVICE:PRECISION[:...]")
    parser.add_argument("--checkpoint", type=Path, required=True, help="diffusers folder")
    parser.add_argument("--engines", type=Path, required=True, help="engine set with the same weights")
    parser.add_argument("--size", type=canvas, default=(256, 256), help="canvas, WIDTHxHEIGHT; 256x256")
    parser.add_argument("--steps", type=at_least_two, default=10, help="steps a picture; 10, the first is not counted")
    parser.add_argument("--scheduler", default="DDIM")
    parser.add_argument("--guidance-scale", type=float, default=7.5)
    parser.add_argument("--scenes", action="store_true", help="paint the demo's held-out scenes, on a square")
    parser.add_argument("--rounds", type=int, default=10, help="pictures counted of each side; 10")
    parser.add_argument("--warmup", type=int, default=1, help="rounds not counted; 1")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between turns; 0.1")
    parser.add_argument("--environments", type=Path, default=Path(".environments"), help="folder of the peers' venvs")
    parser.add_argument("--leave-out-failing", action="store_true", help="go on without sides that do not load")
    parser.add_argument("--note", default="", help="kept in the result")
    parser.add_argument("--out", type=Path, help="write the result to this file")
    return parser.parse_args()


def side_name(text: str) -> SideName:
    try:
        name = SideName.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if name.kind not in KINDS:
        raise argparse.ArgumentTypeError(f"There is no kind {name.kind!r}; there are {', '.join(KINDS)}.")
    return name


def canvas(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if sides is None or any(int(side) % 8 for side in sides.groups()):
        raise argparse.ArgumentTypeError(f"A size is two multiples of 8, such as 512x512, not {text!r}.")
    return int(sides[1]), int(sides[2])


def at_least_two(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"The first step is not counted, so there must be at least 2, not {text!r}.")
    return int(text)


def result(contest: Contest, environment: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """What is written: everything that was measured, and the ratios to the first side."""
    base, sides = contest.sides[0], []
    for side in contest.sides:
        sides.append(
            {
                "side": side.name.text,
                **side.prepared,
                "peak_rss": side.turns[-1]["peak_rss"],
                **times(side.turns, base.turns, "step"),
                **times(side.turns, base.turns, "picture"),
                **times(side.turns, base.turns, "cpu"),
                **beside_exact(side, contest.sides),
                "latents_difference": side.difference,
            }
        )
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "note": given.note,
        "task": asdict(contest.task) | {"checkpoint": given.checkpoint.name, "engines": given.engines.name},
        "environment": environment,
        "orders": contest.orders,
        "sides": sides,
        "left_out": contest.left_out,
    }


def times(turns: list[dict[str, Any]], base: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Every turn's seconds, and their ratio to the first side's; None where one of the two has no such time."""
    seconds, others = ([turn[name] for turn in each] for each in (turns, base))
    ratio = None if None in (*seconds, *others) else asdict(paired_ratio(seconds, others))
    return {f"{name}_seconds": seconds, f"{name}_ratio": ratio}


def table(content: dict[str, Any]) -> list[str]:
    base = content["sides"][0]["side"]
    lines = [
        f"{'':36}{'s/step':>9}  {'times the first [95 %]':24}{'s/picture':>9}  {'times the first':24}{'latents':>9}"
    ]
    exact = [side for side in content["sides"] if side["track"] == "exact"]
    for side in exact:
        difference = side["latents_difference"]
        columns = "".join(column(side[f"{name}_seconds"], side[f"{name}_ratio"]) for name in ("step", "picture"))
        lines.append(f"{side['side']:36}{columns}{'-' if difference is None else f'{difference:.1e}':>9}")
    lines += [f"left out: {name}: {reason}" for name, reason in content["left_out"].items()]
    lines += approximate_lines([side for side in content["sides"] if side["track"] == "approximate"])
    return [
        *lines,
        f"latents: largest difference from {base}'s, by its largest value",
        *filter(None, [content["note"]]),
    ]


def column(seconds: list[float | None], ratio: dict[str, float] | None) -> str:
    """The median of the seconds and the ratio, or dashes."""
    median = "-" if None in seconds else f"{np.median(np.array(seconds, float)):.4f}"
    return f"{median:>9}  {str(Ratio(**ratio)) if ratio else '-':24}"


if __name__ == "__main__":
    sys.exit(main())
