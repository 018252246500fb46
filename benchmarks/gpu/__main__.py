"""Runs everything that is to be known of a GPU, in steps none of which can end the others; see README.md.

The exit code is 0 when all steps that were asked for are done, else 1.

python -m benchmarks.gpu                                     what fits into nine minutes, on ort-cuda
python -m benchmarks.gpu --device ort-cpu --small            a tiny model on the CPU: does everything run?
python -m benchmarks.gpu --only unet-512-plain               one step, whether it was done before or not
"""

import argparse
import os
import re
import sys
from pathlib import Path

from outpaint_engine.machine import find_gpu

from .pack import install
from .running import Records, run_steps
from .steps import MODEL, Plan, planned

ROOT = Path(__file__).parents[2]


def main() -> int:
    given = arguments()
    work = given.work.absolute()
    card = re.sub(r"[^a-z0-9]+", "-", find_gpu().lower()).strip("-") if given.device != "ort-cpu" else "cpu"
    plan = Plan(
        given.device, given.small, work / ("tiny" if given.small else "sd15"), work / "results" / (card or "none")
    )
    if given.model:
        plan = Plan(given.device, given.small, given.model.absolute(), plan.out)
    logs = work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    given_paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [*_unpacked(given.packed, work), *given_paths, str(ROOT), str(ROOT / "export")]
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths)}
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor")}
    os.chdir(ROOT)
    records, steps = Records(plan.out), planned(plan)
    if given.model:
        steps = tuple(step for step in steps if step.name != MODEL)
    if given.only:
        unknown = set(given.only) - {step.name for step in steps}
        if unknown:
            print(f"There is no step {', '.join(unknown)}; there are {', '.join(step.name for step in steps)}.")
            return 2
        steps = tuple(step for step in steps if step.name in given.only)
        for step in steps:
            records.steps.pop(step.name, None)
    run_steps(steps, records, logs, given.seconds)
    print(f"\n{plan.out}")
    for step in steps:
        found = records.steps.get(step.name, {"ended": "not begun", "seconds": 0})
        print(f"{found['ended']:10}{found['seconds']:7.0f} s  {step.name}: {step.answers}")
    return int(not all(records.done(step.name) for step in steps))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure a GPU, step by step.")
    parser.add_argument("--device", default="ort-cuda", help="a backend of `outpaint devices`; ort-cuda")
    parser.add_argument("--small", action="store_true", help="a tiny model and a few calls: says nothing about speed")
    parser.add_argument("--seconds", type=float, default=540, help="for all of it; 540. Run again for the rest")
    parser.add_argument("--only", action="append", metavar="STEP", help="this step, done or not; may be repeated")
    parser.add_argument("--work", type=Path, default=ROOT / "gpu-work", help="for the model and results/; gpu-work")
    parser.add_argument("--model", type=Path, help="made before by `python -m benchmarks.models`")
    parser.add_argument("--packed", type=Path, help="what benchmarks.gpu.pack made, where there is no network")
    return parser.parse_args()


def _unpacked(packed: Path | None, work: Path) -> list[str]:
    """The folder into which what was packed is installed, on the first call."""
    if packed is None:
        return []
    site = work / "site"
    if not (site / "onnxruntime").is_dir():
        install(packed.absolute(), site)
    return [str(site)]


if __name__ == "__main__":
    sys.exit(main())
