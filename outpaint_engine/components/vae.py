"""The autoencoder: its encoder, whose answer is a posterior, and its decoder."""

from typing import NamedTuple

import numpy as np

from ..engines.base import Engine
from ..tensors import Array
from .component import Component

__all__ = ["TINY_DECODER", "Posterior", "TinyDecoder", "VaeDecoder", "VaeEncoder"]

TINY_DECODER = "tiny_decoder"


class Posterior(NamedTuple):
    """Mean and standard deviation of scaled latents, float32 (B, 4, h, w)."""

    mean: Array
    std: Array

    def sample(self, noise: Array) -> Array:
        """Latents drawn with standard normals of the same shape."""
        return self.mean + self.std * noise


class VaeEncoder(Component):
    """Pixels in [-1, 1] to the posterior of the latents."""

    part, input_names, output_name = "vae_encoder", ("sample",), "latent_parameters"

    def __init__(self, engine: Engine, scale: float) -> None:
        super().__init__(engine)
        self._scale = np.float32(scale)

    def encode(self, pixels: Array) -> Posterior:
        """The posterior of the latents (B, 4, h, w) of pixels (B, 3, 8h, 8w)."""
        mean, logvar = np.split(self._finite(self._run(sample=pixels)), 2, axis=1)
        return Posterior(mean * self._scale, np.exp(0.5 * np.clip(logvar, -30, 20)) * self._scale)


class VaeDecoder(Component):
    """Scaled latents to pixels in about [-1, 1]."""

    part, input_names, output_name = "vae_decoder", ("latent_sample",), "sample"

    def __init__(self, engine: Engine, scale: float) -> None:
        super().__init__(engine)
        self._scale = np.float32(scale)

    def decode(self, latents: Array) -> Array:
        """Pixels (B, 3, 8h, 8w) of latents (B, 4, h, w)."""
        return self._finite(self._run(latent_sample=latents / self._scale))


class TinyDecoder(VaeDecoder):
    """The same by the set's tiny decoder (TAESD), whose graph takes latents as they are scaled."""

    part = TINY_DECODER

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, 1.0)
