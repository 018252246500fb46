"""Paints one picture on a device and on ort-cpu, from the same set and seed, and says how far they are apart."""

import math

import numpy as np

from outpaint_engine import OutpaintPipeline
from outpaint_engine.bench import BenchOptions
from outpaint_engine.bench.workload import bench_request
from outpaint_engine.tensors import Array

from .results import arguments, write

REFERENCE = "ort-cpu"


def painted(engines: str, device: str, size: int, steps: int) -> tuple[Array, Array, str]:
    """The picture, the final latents, and the precision."""
    options = BenchOptions(engines, width=size, height=size, steps=steps)
    with OutpaintPipeline.from_pretrained(engines, device=device, verify=False) as pipe:
        result = pipe(bench_request(options, size, 1))
    return np.asarray(result.images[0], np.float64), result.latents, result.precision


def main() -> None:
    parser = arguments("parity", "Compare a picture with that of ort-cpu.")
    parser.add_argument("--engines", required=True)
    parser.add_argument("--size", type=int, default=512)
    given = parser.parse_args()
    steps = 2 if given.few else 10
    ours, latents, precision = painted(given.engines, given.device, given.size, steps)
    theirs, reference, _ = painted(given.engines, REFERENCE, given.size, steps)
    error = float(np.mean((ours - theirs) ** 2))
    found = {
        "size": given.size,
        "steps": steps,
        "device": given.device,
        "precision": precision,
        "psnr_db": round(10 * math.log10(255**2 / error), 2) if error else None,
        "levels_apart": int(np.abs(ours - theirs).max()),
        "latents_apart": float(np.linalg.norm(latents - reference) / np.linalg.norm(reference)),
    }
    write(given.out, found)


if __name__ == "__main__":
    main()
