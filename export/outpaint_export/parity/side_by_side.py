"""Runs a checkpoint through diffusers and its engine set through the runtime, and writes down how close they are.

The reference's answers to all cases are recorded first, so that checkpoint and engines never need to be in memory
together. The result is `parity.json` in the engine set, beside the manifest; it names the manifest's digest, so the
manifest need not know of it.
"""

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import diffusers
import numpy as np
import torch

from outpaint_engine import EngineSet, OutpaintPipeline, OutpaintRequest
from outpaint_engine.engine_set import PARITY
from outpaint_engine.errors import RequestError
from outpaint_engine.images import write_all
from outpaint_engine.tensors import Array

from ..errors import SourceError
from ..sources.checkpoint import Sources
from .fidelity import BOUNDS, Bounds, Figures, decoded, figures
from .reference import not_comparable, outpaint, reference_pipeline, reference_scheduler

__all__ = ["Comparison", "Matrix", "Row", "compare_runs", "write_comparison"]

Answer = tuple[Array, Array]
Report = Callable[[str], None]
"""Called with the side and the case, before each run."""


@dataclass(frozen=True)
class Matrix:
    """The cases: every scheduler at every strength and guidance, on one canvas (width, height; pixels).

    Raises:
        RequestError: a strength leaves less than one step, which diffusers refuses.
    """

    size: tuple[int, int]
    schedulers: tuple[str, ...]
    strengths: tuple[float, ...]
    guidance_scales: tuple[float, ...]
    steps: int
    seed: int = 2**33 + 5

    def __post_init__(self) -> None:
        """Check what a request alone need not refuse."""
        if not all(self.steps * strength >= 1 for strength in self.strengths):
            raise RequestError(f"{self.steps} steps at strength {min(self.strengths):g} are less than one: give more.")

    def requests(self) -> list[OutpaintRequest]:
        """One request a case; the picture is half as wide and high as the canvas and lies in its middle."""
        width, height = (max(8, side // 16 * 8) for side in self.size)
        return [
            OutpaintRequest(
                image=ramps(width, height),
                prompt="a sunset over the sea with clouds",
                negative_prompt="night",
                width=self.size[0],
                height=self.size[1],
                offset_x=(self.size[0] - width) // 16 * 8,
                offset_y=(self.size[1] - height) // 16 * 8,
                scheduler=scheduler,
                num_inference_steps=self.steps,
                strength=strength,
                guidance_scale=guidance_scale,
                seed=self.seed,
                detail="off",
            )
            for scheduler, strength, guidance_scale in product(self.schedulers, self.strengths, self.guidance_scales)
        ]


@dataclass(frozen=True)
class Row:
    """One case and its figures."""

    scheduler: str
    strength: float
    guidance_scale: float
    figures: Figures


@dataclass(frozen=True)
class Comparison:
    """What was measured: the rows, the bounds, what was left out and why, and what ran on either side."""

    rows: tuple[Row, ...]
    bounds: Bounds
    left_out: Mapping[str, str]
    facts: Mapping[str, Any]

    @property
    def worst(self) -> Figures:
        """The worst of each figure, over all rows."""
        rows = [row.figures for row in self.rows]
        return Figures(
            max(row.latent_error for row in rows),
            min(row.within_one_level for row in rows),
            max(row.max_level_error for row in rows),
            min((row.psnr for row in rows if row.psnr is not None), default=None),
        )

    @property
    def missed(self) -> list[Row]:
        """The rows that miss a bound."""
        return [row for row in self.rows if not row.figures.keeps(self.bounds)]


def compare_runs(engines: EngineSet, sources: Sources, matrix: Matrix, report: Report) -> Comparison:
    """Run every case of `matrix` on both sides; schedulers that diffusers has nothing to compare with are left out.

    Raises:
        SourceError: no case is left.
    """
    reasons = {name: not_comparable(name) for name in matrix.schedulers}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    requests = [request for request in matrix.requests() if request.scheduler not in left_out]
    if not requests:
        raise SourceError(f"Nothing is left to compare: {'; '.join(left_out.values())}. Name another scheduler.")
    expected = _reference_answers(sources, requests, report)
    gc.collect()
    found, facts = _engine_answers(engines, requests, report)
    rows = (
        Row(request.scheduler, request.strength, request.guidance_scale, figures(ours, theirs))
        for request, ours, theirs in zip(requests, found, expected, strict=True)
    )
    facts |= {
        "checkpoint": sources.origin.name,
        "reference": f"diffusers {diffusers.__version__}, torch {torch.__version__}",
        "canvas": list(matrix.size),
        "steps": matrix.steps,
        "seed": matrix.seed,
    }
    # A set without a manifest does not say what its weights were stored as, and is held to float32's bounds.
    bounds = BOUNDS.get(engines.artifact("unet").precision, BOUNDS["fp32"])
    return Comparison(tuple(rows), bounds, left_out, facts)


def write_comparison(engines: EngineSet, comparison: Comparison) -> None:
    """Write `comparison` into the engine set.

    Raises:
        OutputError: the folder cannot be written to.
    """
    content = {
        "engine_set": engines.digest,
        **comparison.facts,
        "bounds": asdict(comparison.bounds),
        "kept": not comparison.missed,
        "worst": asdict(comparison.worst),
        "left_out": dict(comparison.left_out),
        "cases": [
            {"scheduler": row.scheduler, "strength": row.strength, "guidance_scale": row.guidance_scale}
            | asdict(row.figures)
            for row in comparison.rows
        ],
    }
    write_all({engines.folder / PARITY: (json.dumps(content, indent=1) + "\n").encode()})


def _reference_answers(sources: Sources, requests: Sequence[OutpaintRequest], report: Report) -> list[Answer]:
    pipeline = reference_pipeline(sources)
    answers = []
    for request in requests:
        report(f"diffusers, {request.scheduler}")
        # A new one for each run: some keep the last run's predictions.
        pipeline.scheduler = reference_scheduler(request.scheduler, sources.scheduler)
        answers.append(outpaint(pipeline, request))
    return answers


def _engine_answers(
    engines: EngineSet, requests: Sequence[OutpaintRequest], report: Report
) -> tuple[list[Answer], dict[str, Any]]:
    """The answers, and on what they were found."""
    answers = []
    with OutpaintPipeline.from_pretrained(engines.folder, verify=False) as pipeline:
        for request in requests:
            report(f"engines, {request.scheduler}")
            result = pipeline(request)
            answers.append((result.latents, decoded(pipeline, result.latents)))
    return answers, {"device": result.device, "precision": result.precision}


def ramps(width: int, height: int) -> Array:
    """Colour ramps with noise over them, uint8 (height, width, 3)."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    smooth = np.stack([240 * x, 240 * y, 255 - 190 * x], axis=-1)
    return np.clip(smooth + np.random.default_rng(5).integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)
