"""What a start on `ort-cpu` takes with and without prepared graphs: processor seconds, memory, bits.

    python -m benchmarks.starts OUT.json [--engines demo] [--size 256] [--rounds 5]

Fresh processes take turns on one thread: all files hashed and the graphs optimised; hashes noted before; graphs
prepared too. The ratios are medians over rounds, of processor time, which other programs on the machine disturb least;
memory is the process's own, without what is mapped from files, after one picture of two steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from outpaint_engine.machine import cpu_name, versions

SIDES = {"plain": {"verify": True}, "hashes noted": {}, "prepared": {}}
RATIOS = ("load", "ready", "first_picture", "call", "private_bytes")
PROCESS = """
import hashlib, json, sys, time
import numpy as np
from outpaint_engine import EngineOptions, OutpaintPipeline
engines, size, verify, prepare = json.loads(sys.argv[1])
began = time.process_time()
options = EngineOptions(threads=1, prepare=prepare)
with OutpaintPipeline.from_pretrained(engines, device="ort-cpu", options=options, verify=verify) as pipe:
    ready = time.process_time()
    told = {"load": ready - began, "ready": ready}
    if not prepare:
        grey = np.full((size // 2, size // 2, 3), 99, np.uint8)
        steps = []
        run = pipe.steps(image=grey, prompt="a sea", width=size, height=size, num_inference_steps=2, seed=1)
        for progress in run:
            steps.append(time.process_time())
        told["first_picture"] = time.process_time()
        told["call"] = steps[1] - steps[0]
        told["bits"] = hashlib.sha256(run.result.latents.tobytes()).hexdigest()
        lines = open("/proc/self/status").read().splitlines()
        told["private_bytes"] = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
print(json.dumps(told))
"""


def measured(given: argparse.Namespace, cache: Path, prepare: bool = False, verify: bool | None = None) -> Any:
    asked = json.dumps([given.engines, given.size, verify, prepare])
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", PROCESS, asked], env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def contest(given: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    caches = {name: folder / name.replace(" ", "-") for name in SIDES}
    measured(given, caches["hashes noted"])
    print(f"preparing took {measured(given, caches['prepared'], prepare=True)['load']:.1f} s", flush=True)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for _ in range(given.rounds):
        for name, options in SIDES.items():
            rounds[name].append(measured(given, caches[name], **options))
            print(name, rounds[name][-1], flush=True)
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engines", default="demo")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.out.parent) as folder:
        rounds = contest(given, Path(folder))
        kept = sum(path.stat().st_size for path in Path(folder).rglob("prepared/*/model.onnx*"))
    bits = {run["bits"] for runs in rounds.values() for run in runs}
    result = {
        "date": date.today().isoformat(),
        "processor": cpu_name(),
        "versions": versions(("onnxruntime", "numpy")),
        "engines": Path(given.engines).name,
        "size": given.size,
        "equal_bits": len(bits) == 1,
        "prepared_bytes": kept,
        "ratio_to_plain": {
            name: {
                what: round(median(a[what] / b[what] for a, b in zip(runs, rounds["plain"], strict=True)), 3)
                for what in RATIOS
            }
            for name, runs in rounds.items()
        },
        "rounds": {
            name: [{what: round(run[what], 3) for what in RATIOS} for run in runs] for name, runs in rounds.items()
        },
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["ratio_to_plain"], indent=1))


if __name__ == "__main__":
    main()
