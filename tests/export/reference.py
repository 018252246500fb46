"""The same cases through diffusers' own inpaint pipeline."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline
from outpaint_export import sd15
from PIL import Image
from transformers import CLIPTokenizer

from outpaint_engine.canvas import plan
from outpaint_engine.infill import choose_infill, infill

from ..parity_cases import Case
from . import tiny_models


def tiny_pipeline(channels: int, folder: Path) -> StableDiffusionInpaintPipeline:
    """diffusers' pipeline of the tiny checkpoint; `folder` gets its tokenizer's files."""
    pipeline = StableDiffusionInpaintPipeline(
        vae=tiny_models.vae(),
        text_encoder=tiny_models.text_encoder(),
        tokenizer=CLIPTokenizer.from_pretrained(tiny_models.tokenizer_files(folder), model_max_length=77),
        unet=tiny_models.unet(channels),
        scheduler=DDIMScheduler.from_config(dict(sd15.SCHEDULER)),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def outpaint(
    pipeline: StableDiffusionInpaintPipeline, case: Case, texts: dict[str, torch.Tensor] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Final latents (1, 4, h, w) and decoded uint8 pixels (height, width, 3), nothing pasted back.

    `texts` are embeddings to use in place of the case's prompts.
    """
    request = case.request
    height, width, _ = request.image.shape
    canvas = np.full((request.height, request.width, 3), 127, np.uint8)
    canvas[request.offset_y : request.offset_y + height, request.offset_x : request.offset_x + width] = request.image
    planned = plan((width, height), request.placement, request.mask_expand)
    kind = choose_infill(case.channels, request.strength)
    filled = infill(kind, canvas, planned.unknown, np.random.default_rng(request.seed))
    latents = pipeline(
        **(texts or {"prompt": request.prompt, "negative_prompt": request.negative_prompt}),
        image=Image.fromarray(filled),
        mask_image=Image.fromarray((planned.mask * 255).astype(np.uint8)),
        width=request.width,
        height=request.height,
        strength=request.strength,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        output_type="latent",
    ).images
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    pixels = ((decoded[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    return latents.numpy(), pixels.numpy()
