"""Exports Stable Diffusion 1.5 at full size with random weights and runs one 512x512 step. Not part of any test run.

    python -m tests.export.full_size 9 /tmp/full-9        # or 4; needs 4 GB of disk, and minutes

Prints what each stage took and the peak memory of the whole process; docs/engine-sets.md states the figures.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from outpaint_export.exporting import ExportOptions, export_parts
from outpaint_export.sources.synthetic import synthetic_sources

from outpaint_engine import OutpaintPipeline


def peak_gigabytes() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    """Export, then outpaint one step."""
    channels, out = int(sys.argv[1]), Path(sys.argv[2])
    began = time.monotonic()

    def report(part: str, stage: str) -> None:
        print(
            f"{time.monotonic() - began:6.0f} s  {peak_gigabytes():4.1f} GB  {stage} {part}",
            file=sys.stderr,
            flush=True,
        )

    engine_set = export_parts(synthetic_sources("sd15", channels), out, ExportOptions(report=report))
    exported, export_peak = time.monotonic() - began, peak_gigabytes()
    picture = np.random.default_rng(0).integers(0, 256, (384, 384, 3)).astype(np.uint8)
    with OutpaintPipeline.from_pretrained(out) as pipe:
        result = pipe(image=picture, width=512, height=512, offset_x=64, offset_y=64, num_inference_steps=1, seed=0)
    print(
        json.dumps(
            {
                "channels": channels,
                "export_seconds": round(exported),
                "export_peak_gb": round(export_peak, 1),
                "peak_gb": round(peak_gigabytes(), 1),
                "timings": {**result.timings.stages, "step": result.timings.steps[0]},
                "parity": {artifact.part: artifact.parity["max_rel_error"] for artifact in engine_set.artifacts},
                "operators": engine_set.artifact("unet").parity["operators"],
            }
        )
    )


if __name__ == "__main__":
    main()
