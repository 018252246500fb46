"""The matrix in which the engine is compared with diffusers' inpaint pipeline, and how each case is asked for.

Shared by the recorder (which needs torch), the live comparison (too) and the recorded comparison (which does
not). The placed picture is aligned to 8 pixels, where diffusers' corner-sampled latent mask and ours agree.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from outpaint_engine import OutpaintRequest

CHANNELS = (4, 9)
STRENGTHS = (0.3, 0.75, 1.0)
GUIDANCES = (1.0, 7.5)
SIZES = ((64, 64), (96, 64), (64, 128))
STEPS = (10, 25)
PROMPT, NEGATIVE = "the sun, the sea", "sea 7"
LATENT_BOUND = 1e-3
"""Largest difference of the final latents, relative to the largest value."""
PIXEL_SHARE = 0.999
"""Share of pixel values that may differ by at most 1 of 255, before the known pixels are pasted back."""


class Case(NamedTuple):
    """One cell of the matrix; `size` is the canvas in pixels."""

    channels: int
    strength: float
    guidance: float
    size: tuple[int, int]
    steps: int

    def __str__(self) -> str:
        width, height = self.size
        return f"{self.channels}ch-strength{self.strength}-guidance{self.guidance}-{width}x{height}-{self.steps}steps"

    @property
    def request(self) -> OutpaintRequest:
        """The case as a request."""
        return OutpaintRequest(
            image=picture(),
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            width=self.size[0],
            height=self.size[1],
            offset_x=16,
            offset_y=8,
            num_inference_steps=self.steps,
            strength=self.strength,
            guidance_scale=self.guidance,
            seed=2**33 + 5,
        )


def cases() -> list[Case]:
    """All 72 cells."""
    return [Case(*cell) for cell in product(CHANNELS, STRENGTHS, GUIDANCES, SIZES, STEPS)]


def picture() -> np.ndarray:
    """40x48 pixels (height x width) of colour ramps and noise."""
    y, x = np.mgrid[0:40, 0:48]
    ramps = np.stack([5 * x, 6 * y, 255 - 4 * x], axis=-1)
    return np.clip(ramps + np.random.default_rng(5).integers(-20, 20, ramps.shape), 0, 255).astype(np.uint8)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def share_within_one_level(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of values of two uint8 pictures that differ by at most 1."""
    return float((np.abs(found.astype(int) - expected.astype(int)) <= 1).mean())
