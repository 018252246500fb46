"""The reference: the same request through diffusers' StableDiffusionInpaintPipeline, with nothing shared but the seed.

Both sides are given the same filled canvas and mask. diffusers samples one corner of each 8x8 block of the mask
and the runtime takes the maximum, so a request's placement and `mask_expand` have to be multiples of 8.
"""

import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from outpaint_engine import OutpaintRequest, plan
from outpaint_engine.canvas import choose_infill, infill
from outpaint_engine.tensors import Array

from ..sources.checkpoint import Sources

__all__ = [
    "SCHEDULERS",
    "filled_canvas",
    "loaded_scheduler",
    "not_comparable",
    "outpaint",
    "reference_pipeline",
    "reference_scheduler",
]

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {}),
    "DPM Multi": ("DPMSolverMultistepScheduler", {}),
    "DPM Single": ("DPMSolverSinglestepScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM2": ("KDPM2DiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "PNDM": ("PNDMScheduler", {}),
    "DDPM": ("DDPMScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "TCD": ("TCDScheduler", {}),
}
"""The runtime's name -> diffusers' class, and what a user gives to its `from_config` beside the checkpoint's."""
SPREADS = {"Karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}


def loaded_scheduler(config: Mapping[str, Any]) -> Any:
    """`pipe.scheduler` of diffusers' inpaint pipeline over a checkpoint with this scheduler config."""
    own = getattr(diffusers, config["_class_name"]).from_config(dict(config))
    parts = ("vae", "text_encoder", "tokenizer", "unet", "safety_checker", "feature_extractor")
    with warnings.catch_warnings():
        # It warns of what it changes in the config.
        warnings.simplefilter("ignore", FutureWarning)
        pipeline = StableDiffusionInpaintPipeline(**dict.fromkeys(parts), scheduler=own, requires_safety_checker=False)
    return pipeline.scheduler


def reference_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """Diffusers' scheduler that goes by `name` here: `X.from_config(pipe.scheduler.config)`, for "auto" that itself."""
    loaded = loaded_scheduler(config)
    if name == "auto":
        return loaded
    word = next((word for word in SPREADS if name.endswith(f" {word}")), "")
    kind, own = SCHEDULERS[name.removesuffix(f" {word}")]
    return getattr(diffusers, kind).from_config(loaded.config, **own, **({SPREADS[word]: True} if word else {}))


def not_comparable(name: str) -> str | None:
    """Why diffusers' `name` cannot be run here; None where it can."""
    needs_scipy = name.startswith("LMS") or name.endswith(" beta")
    if needs_scipy and importlib.util.find_spec("scipy") is None:
        return f"diffusers' {name} needs scipy, which is not installed"
    return None


def reference_pipeline(sources: Sources) -> Any:
    """Diffusers' inpaint pipeline of a checkpoint, all of it loaded, in float32 on the CPU."""
    text_encoder: Any = sources.text_encoder()
    # Checkpoints need not say how many tokens their tokenizer may give, and diffusers pads to that number.
    sources.tokenizer.model_max_length = int(text_encoder.config.max_position_embeddings)
    pipeline = StableDiffusionInpaintPipeline(
        vae=sources.vae().eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=sources.tokenizer,
        unet=sources.unet().eval(),
        scheduler=reference_scheduler("DDIM", sources.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def outpaint(pipeline: Any, request: OutpaintRequest, **options: Any) -> tuple[Array, Array]:
    """Final latents, float32 (1, 4, h, w), and the decoded picture, uint8 (height, width, 3), nothing pasted back.

    `request.image` is a uint8 array that lies inside the canvas at scale 1; the scheduler is the pipeline's.
    `options` go to the pipeline as they are, beyond or in place of what the request says.
    """
    mask, filled = filled_canvas(request, int(pipeline.unet.config.in_channels))
    asked = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "image": Image.fromarray(filled),
        "mask_image": Image.fromarray((mask * 255).astype(np.uint8)),
        "width": request.width,
        "height": request.height,
        "strength": request.strength,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "eta": request.eta,
        "generator": torch.Generator().manual_seed(request.seed),
        "output_type": "latent",
    }
    latents = pipeline(**asked | options).images
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    picture = ((decoded[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    return latents.numpy(), picture.numpy()


def filled_canvas(request: OutpaintRequest, channels: int) -> tuple[Array, Array]:
    """The mask, float32 (height, width), and the filled canvas, uint8, as the runtime makes them."""
    height, width, _ = request.image.shape
    canvas = np.full((request.height, request.width, 3), 127, np.uint8)
    canvas[request.offset_y : request.offset_y + height, request.offset_x : request.offset_x + width] = request.image
    planned = plan((width, height), request.placement, request.mask_expand)
    kind = choose_infill(channels, request.strength)
    return planned.mask, infill(kind, canvas, planned.unknown, request.seed)
