"""What one sampler step costs beside diffusers' own, on 64x64 latents, without any model.

    python -m benchmarks.sampler_step        (extra `export`; half a minute)

Both sides take whole runs of 25 steps over the same constant model output; ours with everything between two model
calls (scaling, the check for NaN, reading the output, the step), diffusers' with `scale_model_input` and `step`.
Schedulers that draw noise draw it on both sides. The sides take turns, and the median of the rounds counts. Written
to benchmarks/results/sampler_step.json.
"""

import json
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from outpaint_export.parity.reference import SCHEDULERS, reference_scheduler
from outpaint_export.sources import sd15

from outpaint_engine.denoise import denoiser
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import scheduler_of
from outpaint_engine.schedule import NoiseSchedule

RESULT = Path(__file__).parent / "results" / "sampler_step.json"
SHAPE, STEPS, ROUNDS = (1, 4, 64, 64), 25, 41
VECTOR_FLAGS = ("avx", "avx2", "fma", "avx512f", "amx_tile", "neon", "asimd")
Run = Callable[[], float]
"""One run; milliseconds a model call."""


def ours(name: str) -> Run:
    scheduler, settings = scheduler_of(name, sd15.SCHEDULER)
    schedule = NoiseSchedule(settings)
    output, start = (TorchNoise(seed).normal(SHAPE) for seed in (1, 2))
    walk = scheduler.plan(schedule, STEPS, 1.0)

    def run() -> float:
        noise, denoise = TorchNoise(3), denoiser(lambda x, t: output, schedule)
        steps = scheduler.sample(denoise, walk.begin(start), walk, noise=lambda: noise.normal(SHAPE))
        began = time.perf_counter()
        calls = sum(1 for _ in steps)
        return 1000 * (time.perf_counter() - began) / calls

    return run


def theirs(name: str) -> Run:
    scheduler = reference_scheduler(name, sd15.SCHEDULER)
    output, start = (torch.from_numpy(TorchNoise(seed).normal(SHAPE)) for seed in (1, 2))

    def run() -> float:
        scheduler.set_timesteps(STEPS)
        x = start * scheduler.init_noise_sigma
        began = time.perf_counter()
        for t in scheduler.timesteps:
            scheduler.scale_model_input(x, t)
            x = scheduler.step(output, t, x).prev_sample
        return 1000 * (time.perf_counter() - began) / len(scheduler.timesteps)

    return run


def measure() -> dict[str, dict[str, float]]:
    """For each scheduler both medians in milliseconds, and the median over the rounds of ours over theirs."""
    sides = {name: (ours(name), theirs(name)) for name in SCHEDULERS}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (our, their) in sides.items():
            times[name].append((our(), their()))
    return {
        name: {
            "ours_ms": round(median(our for our, _ in pairs), 4),
            "diffusers_ms": round(median(their for _, their in pairs), 4),
            "ratio": round(median(our / their for our, their in pairs), 3),
        }
        for name, pairs in times.items()
    }


def machine() -> dict[str, object]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return {
        "machine": platform.machine(),
        "cpu_flags": [flag for flag in VECTOR_FLAGS if flag in flags],
        "torch_threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "diffusers")},
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Measure, print the table and write the result file."""
    steps = measure()
    for name, row in steps.items():
        print(f"{name:18}{row['ours_ms']:8.3f} ms{row['diffusers_ms']:8.3f} ms{row['ratio']:7.2f}")
    content = {"latents": list(SHAPE), "steps": STEPS, "rounds": ROUNDS, **machine(), "schedulers": steps}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
