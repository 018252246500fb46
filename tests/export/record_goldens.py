"""Records what torch and diffusers answer, so that the default tests need neither.

Run from the repository's root with the extra `export` installed:

    python -m tests.export.record_goldens      everything
    python -m tests.export.trajectories        the schedulers' trajectories only; seconds

It writes tests/goldens/: the tiny engine sets, parity.npz, trajectories.npz, noise.npz, clip_tokens.json (which
needs CLIP's byte-pair table, see tests/clip_table.py), and versions.json.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from outpaint_export.exporting import export_parts
from outpaint_export.reference import outpaint, reference_pipeline, reference_scheduler
from transformers import CLIPTokenizer

from ..clip_table import clip_files
from ..parity_cases import CHANNELS, cases
from ..varied_prompts import varied_prompts
from .tiny_models import sources
from .trajectories import record

GOLDENS = Path(__file__).parents[1] / "goldens"
RECORDED_PROMPTS = 200
SEEDS = (0, 1, 2**32 - 1, 2**40 + 7, 2**63 - 1)
SHAPES = ((1, 4, 8, 8), (3, 0, 0, 0), (17, 0, 0, 0), (1, 4, 5, 5), (15, 0, 0, 0), (1, 0, 0, 0), (2, 4, 6, 10))


def main() -> None:
    """Record everything anew."""
    shutil.rmtree(GOLDENS, ignore_errors=True)
    GOLDENS.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        answers = {}
        for channels in CHANNELS:
            tiny = sources(channels, Path(scratch) / str(channels))
            export_parts(tiny, GOLDENS / f"tiny-{channels}")
            pipeline = reference_pipeline(tiny)
            for case in cases():
                if case.channels == channels:
                    pipeline.scheduler = reference_scheduler("DDIM", case.schedule)
                    answers[f"{case}|latents"], answers[f"{case}|pixels"] = outpaint(pipeline, case.request)
    np.savez_compressed(GOLDENS / "parity.npz", **answers)
    record()
    record_tokens()
    normals = {f"seed{seed}": _normals(seed) for seed in SEEDS}
    uniforms = {f"uniform{seed}": torch.rand(100, generator=_seeded(seed)).numpy() for seed in SEEDS}
    np.savez_compressed(GOLDENS / "noise.npz", shapes=np.array(SHAPES), **normals, **uniforms)
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "onnx", "numpy")}
    (GOLDENS / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


def record_tokens() -> None:
    """What transformers' tokenizer makes of the first varied prompts, with CLIP's own table."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = CLIPTokenizer.from_pretrained(clip_files(Path(scratch)))
    ids = tokenizer(varied_prompts(RECORDED_PROMPTS), add_special_tokens=False).input_ids
    (GOLDENS / "clip_tokens.json").write_text(json.dumps(ids, separators=(",", ":")) + "\n", encoding="utf-8")


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normals(seed: int) -> np.ndarray:
    generator = _seeded(seed)
    shapes = [[axis for axis in shape if axis] for shape in SHAPES]
    return np.concatenate([torch.randn(shape, generator=generator).numpy().ravel() for shape in shapes])


if __name__ == "__main__":
    main()
