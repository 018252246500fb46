"""A grey mask beside diffusers: differential diffusion, as its community pipeline for SDXL does it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from outpaint_export.parity.reference import reference_pipeline
from PIL import Image

from outpaint_engine import OutpaintPipeline

from ..tiny_models import sources

GOLDENS = Path(__file__).parents[2] / "goldens" / "tiny-4"
"""The same weights, exported."""


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_latents_under_a_grey_mask_equal_diffusers(tmp_path: Path, strength: float) -> None:
    tiny = sources(4, tmp_path / "words")
    reference = StableDiffusionImg2ImgPipeline(**reference_pipeline(tiny).components, requires_safety_checker=False)
    reference.set_progress_bar_config(disable=True)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    grey = np.random.default_rng(1).integers(10, 246, (8, 8), np.uint8)
    steps = 10
    kept = torch.from_numpy(1 - grey.astype(np.float32) / 255)[None, None]
    noised: list[Any] = []

    def restore(pipeline: Any, index: int, timestep: Any, found: dict[str, Any]) -> dict[str, Any]:
        times = pipeline.scheduler.timesteps[-int(steps * strength) :]
        if index + 1 < len(times):
            held = kept > (index + 1) / len(times)
            known = pipeline.scheduler.add_noise(*noised, times[index + 1 : index + 2])
            found["latents"] = torch.where(held, known, found["latents"])
        return found

    draw = torch.Generator().manual_seed(5)
    pixels = torch.from_numpy(image.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        known = reference.vae.encode(pixels).latent_dist.sample(draw) * reference.vae.config.scaling_factor
    noised = [known, torch.randn(known.shape, generator=draw)]
    expected = reference(
        prompt="sea",
        image=Image.fromarray(image),
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
        callback_on_step_end=restore,
        output_type="latent",
    ).images.numpy()
    with OutpaintPipeline.from_pretrained(GOLDENS) as pipe:
        found = pipe(
            image=image,
            mask=grey.repeat(8, axis=0).repeat(8, axis=1),
            width=64,
            height=64,
            prompt="sea",
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=3.0,
            seed=5,
        ).latents
    assert np.abs(found - expected).max() < 1e-3
