"""Records what torch and diffusers answer, so that the default tests need neither.

Run from the repository's root with the extra `export` installed (LMS needs scipy too):

    python -m tests.export.record_goldens            everything
    python -m tests.export.record_goldens steps      one part, see `PARTS`

It writes tests/goldens/: the tiny engine sets, parity.npz, steps.npz, trajectories.npz, configs.npz, noise.npz,
clip_tokens.json (which needs CLIP's byte-pair table, see tests/clip_table.py), and versions.json.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from outpaint_export.exporting import export_parts
from outpaint_export.parity.reference import outpaint, reference_pipeline, reference_scheduler
from outpaint_export.sources.checkpoint import Sources
from transformers import CLIPTokenizer

from ..clip_table import clip_files
from ..latent_steps import step_sums
from ..parity_cases import CHANNELS, cases, trajectory_cases
from ..varied_prompts import varied_prompts
from .parity.trajectories import outpaint_steps, record_configs, record_trajectories
from .tiny_models import sources

GOLDENS = Path(__file__).parents[1] / "goldens"
RECORDED_PROMPTS = 200
SEEDS = (0, 1, 2**32 - 1, 2**40 + 7, 2**63 - 1)
SHAPES = ((1, 4, 8, 8), (3, 0, 0, 0), (17, 0, 0, 0), (1, 4, 5, 5), (15, 0, 0, 0), (1, 0, 0, 0), (2, 4, 6, 10))


def record_sets() -> None:
    """The tiny engine sets."""
    for channels, tiny in tiny_sources():
        shutil.rmtree(GOLDENS / f"tiny-{channels}", ignore_errors=True)
        export_parts(tiny, GOLDENS / f"tiny-{channels}")


def record_parity() -> None:
    """Final latents and decoded pictures of diffusers' inpaint pipeline on the tiny checkpoints."""
    answers = {}
    for channels, tiny in tiny_sources():
        pipeline = reference_pipeline(tiny)
        for case in cases():
            if case.channels == channels:
                pipeline.scheduler = reference_scheduler(case.scheduler, case.config)
                answers[f"{case}|latents"], answers[f"{case}|pixels"] = outpaint(pipeline, case.request)
    np.savez_compressed(GOLDENS / "parity.npz", **answers)


def record_steps() -> None:
    """Sums of the latents after each of that pipeline's steps."""
    answers = {}
    for channels, tiny in tiny_sources():
        pipeline = reference_pipeline(tiny)
        for case in trajectory_cases():
            if case.channels == channels:
                answers[str(case)] = step_sums(outpaint_steps(pipeline, case.request, case.config)[0])
    np.savez_compressed(GOLDENS / "steps.npz", **answers)


def record_tokens() -> None:
    """What transformers' tokenizer makes of the first varied prompts, with CLIP's own table."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = CLIPTokenizer.from_pretrained(clip_files(Path(scratch)))
    ids = tokenizer(varied_prompts(RECORDED_PROMPTS), add_special_tokens=False).input_ids
    (GOLDENS / "clip_tokens.json").write_text(json.dumps(ids, separators=(",", ":")) + "\n", encoding="utf-8")


def record_noise() -> None:
    """torch's normals and uniform draws."""
    normals = {f"seed{seed}": _normals(seed) for seed in SEEDS}
    uniforms = {f"uniform{seed}": torch.rand(100, generator=_seeded(seed)).numpy() for seed in SEEDS}
    np.savez_compressed(GOLDENS / "noise.npz", shapes=np.array(SHAPES), **normals, **uniforms)


def tiny_sources() -> Iterator[tuple[int, Sources]]:
    """The tiny checkpoints by their UNet's channels."""
    for channels in CHANNELS:
        with tempfile.TemporaryDirectory() as scratch:
            yield channels, sources(channels, Path(scratch) / "words")


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normals(seed: int) -> np.ndarray:
    generator = _seeded(seed)
    shapes = [[axis for axis in shape if axis] for shape in SHAPES]
    return np.concatenate([torch.randn(shape, generator=generator).numpy().ravel() for shape in shapes])


PARTS = {
    "sets": record_sets,
    "parity": record_parity,
    "steps": record_steps,
    "trajectories": record_trajectories,
    "configs": record_configs,
    "tokens": record_tokens,
    "noise": record_noise,
}


def main(*names: str) -> None:
    """Record these parts of `PARTS`, by default all."""
    GOLDENS.mkdir(exist_ok=True)
    for name in names or PARTS:
        PARTS[name]()
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "onnx", "numpy")}
    (GOLDENS / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
