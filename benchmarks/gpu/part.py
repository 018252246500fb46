"""Times calls of one part of an engine set: arrays in, arrays out, other numbers in each call, as a step does it.

`--way` is plain, rewritten (the graph that was made for this backend), or graph-rewritten (that, recorded as a CUDA
graph). Answers of several ways lie beside the results, and are compared with those that are there already.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import Engine, EngineOptions, Loading, find_backend
from outpaint_engine.tensors import Array

from .results import arguments, timed, write

WAYS = ("plain", "rewritten", "graph-rewritten")
TEXTS = ("input_ids", "encoder_hidden_states")
TOKENS = 77


def feeds_of(engine: Engine, rows: int, size: int) -> dict[str, Array]:
    """Seeded feeds for a canvas of `size` pixels."""
    draw, feeds = np.random.default_rng(0), {}
    for name, spec in engine.inputs.items():
        side = size if spec.shape[1:2] == (3,) else size // 8
        free = iter([TOKENS] if name in TEXTS else [side, side])
        shape = (rows, *(axis if isinstance(axis, int) else next(free) for axis in spec.shape[1:]))
        if spec.dtype.kind == "i":
            feeds[name] = draw.integers(0, 500, shape).astype(spec.dtype)
        else:
            feeds[name] = np.asarray(500 if len(shape) == 1 else 1, spec.dtype) * np.ones(shape, spec.dtype)
            if len(shape) > 1:
                feeds[name] = draw.standard_normal(shape, np.float32).astype(spec.dtype)
    return feeds


def for_everybody(engine_set: EngineSet) -> EngineSet:
    """The set without the graphs that were made for one backend."""
    return replace(engine_set, artifacts=tuple(each for each in engine_set.artifacts if not each.backends))


def differences(answer: Array, folder: Path, name: str, way: str) -> dict[str, float]:
    """How far `answer` is from those of other ways, in the norm and relative; it is kept for the next ones."""
    kept = folder / "answers"
    kept.mkdir(exist_ok=True)
    wide, found = answer.astype(np.float64), {}
    for other in WAYS:
        path = kept / f"{name}-{other}.npy"
        if other != way and path.exists():
            there = np.load(path).astype(np.float64)
            found[other] = float(np.linalg.norm(wide - there) / np.linalg.norm(there))
    np.save(kept / f"{name}-{way}.npy", answer)
    return found


def main() -> None:
    parser = arguments("part", "Time calls of one part.")
    parser.add_argument("--engines", required=True)
    parser.add_argument("--part", default="unet")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, default=WAYS[-1])
    given = parser.parse_args()
    engine_set = EngineSet.open(given.engines, verify=False)
    if "rewritten" not in given.way and given.device != "ort-cpu":
        engine_set = for_everybody(engine_set)
    options = EngineOptions(cuda_graph="graph" in given.way if given.device != "ort-cpu" else None)
    began = time.perf_counter()
    with find_backend(given.device).load(Loading(engine_set, given.part, options)) as engine:
        loaded = time.perf_counter() - began
        feeds, wanted = feeds_of(engine, given.rows, given.size), (next(iter(engine.outputs)),)
        answer = engine.run(feeds, wanted)[wanted[0]]
        first, number = next(iter(feeds)), 0

        def call() -> None:
            nonlocal number
            number += 1
            # What equals the feed before would not be copied.
            other = feeds[first] + np.asarray(number % 7, feeds[first].dtype) / 1000
            engine.run({**feeds, first: other.astype(feeds[first].dtype)}, wanted)

        found = timed(call, given.few)
        asked = {name: getattr(given, name) for name in ("part", "size", "rows", "way", "device")}
        apart = differences(answer, given.out.parent, f"{given.part}-{given.size}", given.way)
        finite = bool(np.isfinite(answer).all())
        write(given.out, {**asked, **found, "load_s": round(loaded, 2), "finite": finite, "apart": apart})


if __name__ == "__main__":
    main()
