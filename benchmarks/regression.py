"""Says whether the demo engine set got slower beside plain ONNX Runtime, by ratios that travel between machines.

    python -m benchmarks.regression            check against benchmarks/baseline.json; exit code 1 if it got slower
    python -m benchmarks.regression --record   write that file anew, after the demo or the speed changed on purpose

One thread, so that the number of cores does not matter; on another kind of processor than the baseline's, ratios are
shown and not judged. Each round paints one picture with the pipeline and makes the
same calls on sessions of our own, in an order that is drawn. What is compared with the baseline is the lower end of a
ratio's 95 % interval, so a noisy machine does not fail; a ratio is slower only if three runs in a row say so.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.bench import BenchOptions
from outpaint_engine.bench.environment import read_environment
from outpaint_engine.bench.workload import bench_request
from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engines.timed import TimedEngine
from outpaint_engine.tensors import Array

from .ratios import Ratio, paired_ratio

BASELINE = Path(__file__).parent / "baseline.json"
OPTIONS = BenchOptions(engines="demo", device="ort-cpu", load=EngineOptions(threads=1), steps=8)
ROUNDS, SESSIONS, ATTEMPTS = 15, 5, 3
NOISES = 4
"""How many times the measured noise a ratio may be above its baseline."""
MEANING = {
    "outside_to_step": "time outside the UNet's engine, of a step",
    "step_to_plain_call": "a step, to a session's own call of the UNet",
    "picture_to_plain_calls": "a picture, to sessions' own calls of all parts",
}
Seconds = dict[str, float]


class Allowed(NamedTuple):
    """A ratio's baseline, and how far the lower end of what is measured may lie above it."""

    ratio: float
    margin: float


class Plain:
    """Sessions without any of our code, fed with random numbers of the shapes that one picture of the demo has."""

    def __init__(self, engine_set: EngineSet) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self._sessions = {
            part: onnxruntime.InferenceSession(
                str(engine_set.folder / engine_set.artifact(part).file), settings, providers=["CPUExecutionProvider"]
            )
            for part in PARTS
        }
        self._side = engine_set.native_size

    def run(self) -> Seconds:
        calls = {"text_encoder": 2, "vae_encoder": 1, "unet": OPTIONS.steps, "vae_decoder": 1}
        taken = {part: [self._call(part) for _ in range(count)] for part, count in calls.items()}
        return {"step": median(taken["unet"]), "picture": sum(map(sum, taken.values()))}

    def _call(self, part: str) -> float:
        session = self._sessions[part]
        feeds = {value.name: self._random(part, value) for value in session.get_inputs()}
        # The first output alone, as the runtime asks for it.
        wanted = [session.get_outputs()[0].name]
        began = time.perf_counter()
        session.run(wanted, feeds)
        return time.perf_counter() - began

    def _random(self, part: str, value: Any) -> Array:
        """Guidance makes two rows of a UNet call; free axes are a picture's sides, latents' sides, or tokens."""
        side = self._side if part == "vae_encoder" else self._side // 8
        free = 77 if value.name in ("input_ids", "encoder_hidden_states") else side
        shape = [2 if part == "unet" else 1, *(axis if isinstance(axis, int) else free for axis in value.shape[1:])]
        if value.type == "tensor(int64)":
            return np.ones(shape, np.int64)
        kind = np.float16 if value.type == "tensor(float16)" else np.float32
        return np.random.default_rng(0).standard_normal(shape).astype(kind)


def ours(pipe: OutpaintPipeline, clock: TimedEngine, number: int) -> Seconds:
    """One picture of the pipeline, whose UNet `clock` times."""
    clock.seconds.clear()
    request = bench_request(OPTIONS, pipe.models.engine_set.native_size, number)
    began = time.perf_counter()
    run = pipe.steps(request)
    for _ in run:
        pass
    picture = time.perf_counter() - began
    steps = run.result.timings.steps
    outside = median(step - call for step, call in zip(steps, clock.seconds, strict=True))
    return {"step": median(steps), "picture": picture, "outside": outside}


def session(pipe: OutpaintPipeline, clock: TimedEngine, plain: Plain) -> dict[str, Ratio]:
    """The three ratios of `ROUNDS` rounds."""
    found: list[Seconds] = []
    draw = random.Random(0)
    for number in range(ROUNDS):
        sides: list[tuple[str, Callable[[], Seconds]]] = [
            ("ours", lambda number=number: ours(pipe, clock, number)),  # type: ignore[misc]
            ("plain", plain.run),
        ]
        taken = {name: run() for name, run in draw.sample(sides, len(sides))}
        found.append({f"{side} {what}": value for side, values in taken.items() for what, value in values.items()})

    def ratio(over: str, under: str) -> Ratio:
        return paired_ratio([each[over] for each in found], [each[under] for each in found])

    return {
        "outside_to_step": ratio("ours outside", "ours step"),
        "step_to_plain_call": ratio("ours step", "plain step"),
        "picture_to_plain_calls": ratio("ours picture", "plain picture"),
    }


def recorded(sessions: list[dict[str, Ratio]]) -> dict[str, Allowed]:
    """For each ratio the median of several sessions, and `NOISES` times the larger of two noises.

    One is the sessions' standard deviation, the other the mean half of their intervals.
    """
    allowed = {}
    for name in sessions[0]:
        ratios = [each[name] for each in sessions]
        spread = float(np.std([ratio.ratio for ratio in ratios], ddof=1))
        half = float(np.mean([(ratio.high - ratio.low) / 2 for ratio in ratios]))
        allowed[name] = Allowed(median(ratio.ratio for ratio in ratios), round(NOISES * max(spread, half), 5))
    return allowed


def slower(found: Mapping[str, Ratio], allowed: Mapping[str, Allowed]) -> list[str]:
    """The ratios whose whole interval lies above what is allowed."""
    return [name for name, ratio in found.items() if ratio.low > allowed[name].ratio + allowed[name].margin]


def check(measured: Callable[[], dict[str, Ratio]], allowed: Mapping[str, Allowed]) -> int:
    """Exit code 1 if the same ratio is above its baseline in every one of `ATTEMPTS` sessions."""
    suspects = set(allowed)
    for _ in range(ATTEMPTS):
        found = measured()
        for name, ratio in found.items():
            print(f"{MEANING[name]:48}{ratio}  allowed {allowed[name].ratio:.4f} + {allowed[name].margin:.4f}")
        suspects &= set(slower(found, allowed))
        if not suspects:
            return 0
    print(
        f"Slower than the baseline, {ATTEMPTS} times in a row: {', '.join(MEANING[name] for name in sorted(suspects))}."
    )
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the baseline anew")
    record = parser.parse_args().record
    engine_set = EngineSet.open("demo")
    baseline = {} if record else json.loads(BASELINE.read_text(encoding="utf-8"))
    if not record and baseline["engine_set"] != engine_set.digest:
        print("The baseline is another demo set's. Write it anew: python -m benchmarks.regression --record")
        return 1
    with OutpaintPipeline.from_pretrained("demo", device=OPTIONS.device, options=OPTIONS.load, verify=False) as pipe:
        clock = TimedEngine(pipe.models.unet.engine)
        pipe.models.unet.engine = clock
        plain = Plain(engine_set)
        plain.run(), ours(pipe, clock, 0)
        if not record:
            here, there = read_environment().cpu, baseline["environment"]["cpu"]
            if here != there:
                print(f"The baseline is of {there} and this is {here}, where the same code has other ratios:")
                print("\n".join(f"{MEANING[name]:48}{ratio}" for name, ratio in session(pipe, clock, plain).items()))
                print("They are shown, not judged. To judge here: python -m benchmarks.regression --record")
                return 0
            return check(
                lambda: session(pipe, clock, plain),
                {name: Allowed(**values) for name, values in baseline["ratios"].items()},
            )
        allowed = recorded([session(pipe, clock, plain) for _ in range(SESSIONS)])
    content = {
        "engine_set": engine_set.digest,
        "ratios": {name: each._asdict() for name, each in allowed.items()},
        "environment": asdict(read_environment()),
    }
    BASELINE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, each in allowed.items():
        print(f"{MEANING[name]:48}{each.ratio:.4f} + {each.margin:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
