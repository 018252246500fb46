"""Several pictures in one call of a real engine are, bit for bit, those of single runs."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintRequest

from ..parity_cases import picture

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.mark.parametrize("engines", [GOLDENS / "tiny-4", GOLDENS / "tiny-9", "demo"], ids=lambda path: Path(path).name)
@pytest.mark.parametrize("scheduler", ["DDIM", "Euler a"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_a_batch_equals_single_runs_on_the_cpu(engines: Path | str, scheduler: str, strength: float) -> None:
    fields = {
        "image": picture(),
        "prompt": "sunset sea",
        "width": 104,
        "height": 72,
        "offset_x": 32,
        "offset_y": 8,
        "num_inference_steps": 4,
        "strength": strength,
        "scheduler": scheduler,
        "infill": "noise",
    }
    with OutpaintPipeline.from_pretrained(engines, device="ort-cpu", max_batch=3) as pipe:
        batch = pipe(OutpaintRequest(**fields, seed=5, num_images=3))
        singles = [pipe(OutpaintRequest(**fields, seed=seed)) for seed in batch.seeds]
    assert max(batch.timings.rows) == 6
    assert np.array_equal(batch.latents, np.concatenate([single.latents for single in singles]))
    for found, single in zip(batch.images, singles, strict=True):
        assert np.array_equal(np.asarray(found), np.asarray(single.images[0]))
