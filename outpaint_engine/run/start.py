"""What a sampling loop begins with: noise, the encoded canvas, and how the UNet learns what is known.

The order of random draws is diffusers' (pipeline_stable_diffusion_inpaint.py): the posterior of the filled
canvas if its latents are needed, then the starting noise, then the posterior of the masked picture. Each picture
draws from a generator of its own, as if it were run alone.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..canvas import CanvasPlan, choose_infill, continued, infill, latent_mask, within
from ..components import Models, Posterior
from ..denoise import Held, Predict, hold_by_grey, hold_known, mask_channels, with_mask_channels
from ..noise import noise_source
from ..request import OutpaintRequest
from ..samplers import Constrain, Noise, Walk, unconstrained
from ..tensors import Array
from ..timing import Timings

__all__ = ["Start", "Starter"]


class Start(NamedTuple):
    """The first x (B, 4, h, w), how x is pinned, the prediction function, and normals of x's shape for each step.

    `held` and `extra` say it as arrays: what `constrain` puts back, and what `predict` appends (B, 5, h, w); `by_grey`
    is whether `constrain` does something else.
    """

    x: Array
    constrain: Constrain
    predict: Predict
    noise: Noise
    held: Held | None = None
    extra: Array | None = None
    by_grey: bool = False


class Starter:
    """Makes the starts of one request's pictures; what they share is encoded once.

    `canvas` is uint8 (height, width, 3), read where the plan says it is known.
    """

    def __init__(
        self, models: Models, request: OutpaintRequest, plan: CanvasPlan, canvas: Array, timings: Timings
    ) -> None:
        self._models, self._request, self._plan, self._canvas = models, request, plan, canvas
        self._timings = timings
        self._nine = models.engine_set.unet_channels == 9
        self._kind = request.infill
        if self._kind == "auto":
            self._kind = choose_infill(models.engine_set.unet_channels, request.strength)

    def start(self, seeds: Sequence[int], walk: Walk, predict: Predict) -> Start:
        """Draw the noise of one batch, and decide, in one place, how the UNet learns what is known."""
        mask = latent_mask(self._plan.mask, self._models.engine_set.latent_factor)
        shape = (1, 4, *mask.shape[2:])
        draws = [noise_source(self._request.noise, seed) for seed in seeds]

        def normals() -> Array:
            return np.concatenate([draw.normal(shape) for draw in draws])

        known = None
        soft = self._plan.grey is not None
        if not self._nine or self._request.strength < 1 or soft:
            filled = [self._filled(seed) for seed in seeds]
            known = np.concatenate([each.sample(draw.normal(shape)) for each, draw in zip(filled, draws, strict=True)])
        noise = normals()
        # diffusers encodes the masked picture for 4-channel UNets too, and throws the latents away.
        posterior_noise = normals()
        x = walk.begin(noise, known if self._request.strength < 1 else None)
        constrain: Constrain = unconstrained
        pinned, extra = None, None
        if soft:
            assert known is not None
            x = np.where(mask < 1, walk.begin(noise, known), x)
            # A 9-channel UNet sees what is known, and needs no hold on it.
            grey = np.where(mask > 0, mask, 1) if self._nine else mask
            constrain = hold_by_grey(known, noise, grey, len(walk.calls))
        elif not self._nine:
            assert known is not None
            pinned = Held(known, noise, mask)
            constrain = hold_known(*pinned)
        if self._nine:
            channels = (mask > 0).astype(np.float32), self._masked.sample(posterior_noise)
            predict, extra = with_mask_channels(predict, *channels), mask_channels(*channels)
        return Start(x, constrain, predict, normals, pinned, extra, soft)

    def _filled(self, seed: int) -> Posterior:
        """The filled canvas; only noise differs between seeds."""
        return self._encoded_fill(seed) if self._kind == "noise" else self._shared_fill

    @cached_property
    def _shared_fill(self) -> Posterior:
        return self._encoded_fill(0)

    @cached_property
    def _masked(self) -> Posterior:
        hidden = to_model(self._canvas) * (self._plan.mask == 0)
        with self._timings.stage("vae_encoder"):
            return self._models.vae_encoder.encode(hidden.astype(np.float32))

    def _encoded_fill(self, seed: int) -> Posterior:
        with self._timings.stage("infill"):
            wrap, margin = self._plan.wrap, min(self._plan.unknown.shape) // 2
            canvas, unknown = (continued(each, margin, wrap) for each in (self._canvas, self._plan.unknown))
            canvas = within(infill(self._kind, canvas, unknown, seed), margin, wrap)
        with self._timings.stage("vae_encoder"):
            return self._models.vae_encoder.encode(to_model(canvas))


def to_model(pixels: Array) -> Array:
    """uint8 (height, width, 3) to float32 (1, 3, height, width) in [-1, 1]."""
    return (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
