"""What a result was made from: its request as it would be sent again, for the files that carry it."""

import dataclasses
from typing import Any

from . import __version__
from .images import Provenance
from .request import OutpaintRequest
from .run import OutpaintResult

__all__ = ["provenance_of", "whole_calls"]


def provenance_of(request: OutpaintRequest, result: OutpaintResult, index: int = 0) -> Provenance:
    """What the file of `result.images[index]` says of itself; see `images.encode`."""
    return Provenance(
        f"outpaint_engine {__version__}", _facts(request, result, index), _parameters(request, result, index)
    )


def _facts(request: OutpaintRequest, result: OutpaintResult, index: int) -> dict[str, Any]:
    """The request as it would be sent again, without the picture."""
    fields = {
        field.name: getattr(request, field.name)
        for field in dataclasses.fields(request)
        if field.name not in ("image", "mask")
    }
    return fields | {
        "reuse": dataclasses.asdict(request.chosen_reuse),
        "detail": request.detail if isinstance(request.detail, str) else dataclasses.asdict(request.detail),
        "whole_unet_calls": whole_calls(result),
        "seed": result.seeds[index],
        "num_images": 1,
        "loras": [lora._asdict() for lora in result.loras],
        "engine_set": result.engine_set,
        "backend": result.backend,
        "device": result.device,
        "precision": result.precision,
        "version": __version__,
    }


def whole_calls(result: OutpaintResult) -> str:
    """In how many steps the UNet was run whole."""
    rows = result.timings.rows
    return f"{sum(row > 0 for row in rows)} of {len(rows)}"


def _parameters(request: OutpaintRequest, result: OutpaintResult, index: int) -> str:
    """The text block that AUTOMATIC1111's web UI writes into a PNG."""
    settings = {
        "Steps": request.num_inference_steps,
        "Sampler": result.scheduler,
        "CFG scale": request.guidance_scale,
        "Seed": result.seeds[index],
        "Size": f"{request.width}x{request.height}",
        "Denoising strength": request.strength,
        # The web UI counts the last layer as 1.
        **({"Clip skip": request.clip_skip + 1} if request.clip_skip else {}),
        **({"Whole UNet calls": whole_calls(result)} if request.chosen_reuse else {}),
        # As the web UI names it.
        **({"VAE Decoder": "TAESD"} if request.decoder == "tiny" else {}),
        **({"LoRAs": " ".join(f"{lora.name}:{lora.strength:g}" for lora in result.loras)} if result.loras else {}),
        "Version": f"outpaint_engine {__version__}",
    }
    negative = f"\nNegative prompt: {request.negative_text}" if request.negative_text else ""
    return f"{request.prompt}{negative}\n" + ", ".join(f"{name}: {value}" for name, value in settings.items())
