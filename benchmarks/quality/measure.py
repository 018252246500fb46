"""Paints a case in a setting, compares what was painted, and keeps exact runs, which cost the most."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np

from outpaint_engine import OutpaintPipeline
from outpaint_engine.tensors import Array

from .cases import Case
from .settings import Setting

__all__ = ["Painted", "Painter", "decibels", "summary"]

EQUAL = 99.0
"""Stands for the decibels of two equal pictures."""


class Painted(NamedTuple):
    """The pixels of the painted area, uint8 (n, 3), the CPU seconds of the whole picture, and each UNet call's rows."""

    pixels: Array
    seconds: float
    rows: list[int]


class Painter:
    """Runs one pipeline. Exact runs are kept in the folder `kept`, by engine set, case and setting."""

    def __init__(self, pipe: OutpaintPipeline, kept: Path) -> None:
        self._pipe, self._kept = pipe, kept
        kept.mkdir(parents=True, exist_ok=True)

    def paint(self, case: Case, setting: Setting, guidance_scale: float) -> Painted:
        """Paint it, or read what was painted before."""
        if setting.fields != setting.exact.fields:
            return self._painted(case, setting, guidance_scale)
        named = [self._pipe.models.engine_set.digest, case.name, setting.text, guidance_scale, case.fields["width"]]
        path = self._kept / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]}.npz"
        if not path.exists():
            painted = self._painted(case, setting, guidance_scale)
            np.savez(path, pixels=painted.pixels, seconds=painted.seconds, rows=painted.rows)
        with np.load(path) as file:
            return Painted(file["pixels"], float(file["seconds"]), file["rows"].tolist())

    def _painted(self, case: Case, setting: Setting, guidance_scale: float) -> Painted:
        began = time.process_time()
        result = self._pipe(**case.fields, **setting.fields, guidance_scale=guidance_scale)
        seconds = time.process_time() - began
        return Painted(np.asarray(result.images[0])[result.plan.unknown == 1], seconds, result.timings.rows)


def decibels(painted: Array, reference: Array) -> float:
    """Peak signal-to-noise ratio of uint8 pixels, in dB."""
    error = float(((painted.astype(np.float64) - reference) ** 2).mean())
    return round(min(EQUAL, 10 * float(np.log10(255**2 / error))), 2) if error else EQUAL


def summary(found: Sequence[Painted], references: dict[str, Sequence[Painted]]) -> dict[str, Any]:
    """Mean and worst decibels to each reference, median CPU seconds, and the rows of one picture's UNet calls."""
    figures: dict[str, Any] = {"cpu_seconds": round(median(each.seconds for each in found), 3)}
    rows = found[0].rows
    figures["whole_calls"] = f"{sum(row > 0 for row in rows)} of {len(rows)}"
    figures["rows"] = sum(rows)
    for name, reference in references.items():
        each = [decibels(this.pixels, that.pixels) for this, that in zip(found, reference, strict=True)]
        figures[name] = {"mean": round(mean(each), 2), "worst": min(each), "each": each}
    return figures
