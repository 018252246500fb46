"""What the demo's first picture takes on each CPU backend, from starting the command to its end.

    python -m benchmarks.first_picture [NOTE]        (the extras `cpu` and `openvino`; half a minute)

Fresh processes of the README's first command take turns: ort-cpu, openvino, ort-openvino without anything in its cache,
and ort-openvino with what the run before compiled. The median of the rounds counts; ratios are to ort-cpu, of the same
round. Written to benchmarks/results/first_picture.json, with NOTE.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

RESULT = Path(__file__).parent / "results" / "first_picture.json"
ROUNDS = 5
COMMAND = ("run", "examples/sunset-mountains.png", "OUT", "--left", "96", "--right", "96", "--seed", "2", "--json")
PROMPT = ("--prompt", "sunset mountains with sun", "--guidance-scale", "2.5")
SIDES = (
    ("ort-cpu", "ort-cpu"),
    ("openvino", "openvino"),
    ("ort-openvino, nothing compiled", "ort-openvino"),
    ("ort-openvino", "ort-openvino"),
)
"""Name and device; each round begins with an empty cache."""


def first_picture(device: str, folder: Path) -> dict[str, float | str]:
    command = [argument.replace("OUT", str(folder / "out.png")) for argument in (*COMMAND, *PROMPT)]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "outpaint_engine", *command, "--device", device],
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    report = json.loads(done.stdout)
    return {"seconds": seconds, "step": median(report["timings"]["steps"]), "precision": report["precision"]}


def measure() -> dict[str, dict[str, object]]:
    rounds: dict[str, list[dict[str, float | str]]] = {name: [] for name, _ in SIDES}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            for name, device in SIDES:
                rounds[name].append(first_picture(device, Path(folder)))
    found: dict[str, dict[str, object]] = {}
    for name, runs in rounds.items():
        found[name] = {
            "precision": runs[0]["precision"],
            **{
                kind: {
                    "median": round(median(float(run[kind]) for run in runs), 4),
                    "ratio": round(
                        median(float(a[kind]) / float(b[kind]) for a, b in zip(runs, rounds["ort-cpu"], strict=True)), 3
                    ),
                }
                for kind in ("seconds", "step")
            },
        }
    return found


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def main() -> None:
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processor": processor(),
        "versions": {name: version(name) for name in ("onnxruntime", "onnxruntime-ep-openvino", "openvino")},
        "rounds": ROUNDS,
        "note": " ".join(sys.argv[1:]),
        "backends": measure(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
