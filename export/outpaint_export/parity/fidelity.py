"""How close a picture of the engines is to the reference's: four figures, and the bounds they have to keep.

Only numpy: tests without torch measure with it too. Latents are float32 (1, 4, h, w) at the end of a run,
pictures uint8 (height, width, 3), decoded and not yet pasted into.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from outpaint_engine import OutpaintPipeline
from outpaint_engine.tensors import Array

__all__ = ["BOUNDS", "Bounds", "Figures", "decoded", "figures"]


@dataclass(frozen=True)
class Bounds:
    """What is allowed: `latent_error` at most, `within_one_level` at least."""

    latent_error: float
    within_one_level: float


# A float16 weight is good to 5e-4 of itself, and a part that is stored so may be off by 2e-2 (`parity.BOUNDS`).
HALF = Bounds(2e-2, 0.99)
BOUNDS: Mapping[str, Bounds] = {"fp32": Bounds(1e-3, 0.999), "fp16": HALF, "fp16-weights": HALF}
"""By the precision that a manifest states of the UNet."""


@dataclass(frozen=True)
class Figures:
    """One run beside its reference.

    `latent_error` is the largest difference over the largest value; `within_one_level` the share of pixel values
    that differ by at most 1 of 255; `max_level_error` the largest difference of those; `psnr` in dB, None where
    the pictures are equal.
    """

    latent_error: float
    within_one_level: float
    max_level_error: int
    psnr: float | None

    def keeps(self, bounds: Bounds) -> bool:
        """Whether both bounds are kept; NaN keeps none."""
        return self.latent_error <= bounds.latent_error and self.within_one_level >= bounds.within_one_level


def figures(found: tuple[Array, Array], expected: tuple[Array, Array]) -> Figures:
    """The figures of `found` beside `expected`, each (latents, picture)."""
    (latents, picture), (true_latents, true_picture) = found, expected
    difference = picture.astype(np.float64) - true_picture
    mean_square = float((difference**2).mean())
    return Figures(
        float(np.abs(latents - true_latents).max() / np.abs(true_latents).max()),
        float((np.abs(difference) <= 1).mean()),
        int(np.abs(difference).max()),
        float(10 * np.log10(255**2 / mean_square)) if mean_square else None,
    )


def decoded(pipeline: OutpaintPipeline, latents: Array) -> Array:
    """The picture of final latents as the engines decode it, with nothing pasted back."""
    pixels = pipeline.models.vae_decoder.decode(latents)[0].transpose(1, 2, 0)
    return np.clip(np.rint(pixels * 127.5 + 127.5), 0, 255).astype(np.uint8)
