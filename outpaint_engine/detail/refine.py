"""One level of a large canvas: what was painted below it is enlarged, and the model adds detail in tiles.

The tiles' predictions are averaged at every step, so that there is one picture without borders (`averaged.py`), and the
composition's low frequencies hold it (`anchor.py`).
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..canvas import Box, CanvasPlan, box_sum, dilated, latent_mask
from ..components import Models
from ..denoise import Guidance, denoiser, guided, hold_known
from ..noise import NoiseSource
from ..run import Placed
from ..run.start import to_model
from ..samplers import Constrain, Sampler, Walk
from ..schedule import Level
from ..tensors import Array
from ..timing import Timings
from .anchor import anchored
from .averaged import Averaged
from .join import join
from .mosaics import Mosaics
from .tiles import FACTOR, Tile, Tiles, edges

__all__ = ["Layout", "Refinement", "Sampling"]

FREE = 4
"""Latents around the picture that are not held to the composition: there the two have to meet."""
STRETCH = 1.25
"""A tile may be so many times its size where that saves tiles."""
BAND = 64


class Sampling(NamedTuple):
    """How a level is sampled: sampler and walk, texts, guidance, the radius of the anchor in latents, and normals."""

    sample: Sampler
    walk: Walk
    cond: Array
    uncond: Array
    guidance_scale: float
    anchor_radius: int
    draw: NoiseSource


@dataclass(frozen=True)
class Layout:
    """The tiles of a level: `unet` touch what is painted, `encoded` cover those, `decoded` touch what is painted.

    The latter two are groups that share a call of the autoencoder.
    """

    mask: Array
    grid: Tiles
    mosaics: Mosaics
    unet: list[Tile]
    encoded: list[list[Tile]]
    decoded: list[list[Tile]]
    wrap: str

    @classmethod
    def of(cls, plan: CanvasPlan, tile: int, overlap: int) -> "Layout":
        """Lay tiles of `tile` latents a side, overlapping by `overlap`, over a plan's canvas."""
        mask = _latent_mask(plan)
        height, width = mask.shape[2:]
        grid = Tiles.over(height, width, tile, overlap, plan.wrap, STRETCH)
        mosaics = Mosaics.over(height, width, plan.wrap)
        painted = mask[0, 0] > 0
        unet, seen = grid.touching(painted), np.zeros((height, width), bool)
        for each in unet:
            seen[each.index] = True
        return cls(mask, grid, mosaics, unet, mosaics.groups(seen), mosaics.groups(painted), plan.wrap)

    def pauses(self, calls: int, together: int) -> int:
        """How often `Refinement.run` pauses, on a walk of so many model calls."""
        return len(self.encoded) + calls * -(-len(self.unet) // together) + len(self.decoded)

    @property
    def lines(self) -> tuple[set[int], set[int]]:
        """The rows and columns of pixels at which a tile begins or ends."""
        height, width = self.mask.shape[2:]
        coded = self.mosaics.grid
        sides = ((height, self.grid.rows, coded.rows), (width, self.grid.columns, coded.columns))
        rows, columns = ({FACTOR * at for spans in grids for at in edges(spans, length)} for length, *grids in sides)
        return rows, columns


class Refinement:
    """One level of one picture; `together` tiles share a UNet call."""

    def __init__(self, models: Models, layout: Layout, together: int, timings: Timings) -> None:
        self._models, self._layout, self._timings = models, layout, timings
        self._together = together

    def run(self, picture: Array, placed: Placed, sampling: Sampling) -> Iterator[None]:
        """Refine `picture`, uint8 (height, width, 3), in place; pauses after calls of UNet, encoder and decoder."""
        composition = yield from self._encoded(picture)
        latents = yield from self._sampled(composition, sampling)

        mosaics, decoder = self._layout.mosaics, self._models.vae_decoder

        def change(group: Sequence[Tile]) -> Iterator[tuple[Tile, Array]]:
            with self._timings.stage("vae_decoder"):
                both = [list(mosaics.run(group, each, decoder.decode)) for each in (latents, composition)]
            for (tile, after), (_, before) in zip(*both, strict=True):
                yield tile, 127.5 * (after - before)[0].transpose(1, 2, 0)

        yield from join(picture, placed, self._layout.decoded, change)

    def _encoded(self, picture: Array) -> Generator[None, None, Array]:
        """The latents (1, 4, h, w) of what the level begins with, where a tile needs them."""
        shape = self._layout.mask.shape[2:]
        total, weights = np.zeros((1, 4, *shape), np.float32), np.zeros(shape, np.float32)
        for group in self._layout.encoded:
            with self._timings.stage("vae_encoder"):
                means = list(self._layout.mosaics.run(group, picture.transpose(2, 0, 1)[None], self._mean))
            for tile, mean in means:
                total[..., *tile.index] += tile.weights * mean
                weights[tile.index] += tile.weights
            yield
        return total / np.where(weights > 0, weights, 1)

    def _mean(self, pixels: Array) -> Array:
        """The mean of the latents of uint8 pixels (1, 3, height, width)."""
        return self._models.vae_encoder.encode(to_model(pixels[0].transpose(1, 2, 0))).mean

    def _sampled(self, composition: Array, sampling: Sampling) -> Generator[None, None, Array]:
        """The latents after the walk, from the composition under noise."""
        averaged = self._averaged(composition, sampling)
        noise = sampling.draw.normal(composition.shape)
        x = sampling.walk.begin(noise, composition)
        steps = sampling.sample(
            denoiser(averaged.predict, sampling.walk.schedule),
            x,
            sampling.walk,
            constrain=self._constrain(composition, noise, sampling.anchor_radius),
            noise=lambda: sampling.draw.normal(composition.shape),
        )
        for index in sampling.walk.calls:
            at = sampling.walk.times[index]
            yield from averaged.steps(model_input(x, at.level), at.t)
            x = next(steps).x
        return x

    def _averaged(self, composition: Array, sampling: Sampling) -> Averaged:
        mask, unet, rows = self._layout.mask, self._models.unet, self._timings
        shown = None
        if self._models.engine_set.unet_channels == 9:
            shown = np.concatenate([mask, np.where(mask > 0, self._grey(), composition)], axis=1)

        def counted(sample: Array, timestep: float, context: Array) -> Array:
            began = time.perf_counter()
            answer = unet.predict(sample, timestep, context)
            rows.steps.append(time.perf_counter() - began)
            rows.rows.append(len(sample))
            return answer

        scale, calls = sampling.guidance_scale, len(sampling.walk.calls) * -(-len(self._layout.unet) // self._together)
        guidance = Guidance(scale, range(calls if scale > 1 and not unet.takes_guidance else 0))
        predict = guided(counted, sampling.cond, sampling.uncond, guidance)
        return Averaged(predict, self._layout.unet, shown, self._together)

    def _grey(self) -> Array:
        """The latents of mid-grey, (1, 4, 1, 1): what a 9-channel model sees where it paints."""
        height, width = (FACTOR * side for side in self._layout.grid.shape)
        with self._timings.stage("vae_encoder"):
            mean = self._models.vae_encoder.encode(np.zeros((1, 3, height, width), np.float32)).mean
        return np.median(mean, axis=(2, 3), keepdims=True)

    def _constrain(self, composition: Array, noise: Array, radius: int) -> Constrain:
        mask, wrap = self._layout.mask, self._layout.wrap
        free = dilated(mask[0, 0] == 0, FREE)
        share = box_sum(1 - free, FREE) / box_sum(np.ones_like(free), FREE) * (1 - free)
        hold = anchored(composition, noise, share, radius, wrap)
        if self._models.engine_set.unet_channels == 9:
            return hold
        known = hold_known(composition, noise, mask)

        def both(x: Array, level: Level) -> Array:
            return known(hold(x, level), level)

        return both


def model_input(x: Array, level: Level) -> Array:
    """What the model is given for x; see `denoise.denoiser`."""
    return x if abs(level.scale - 1) < 1e-9 else x / np.float32(level.scale)


def _latent_mask(plan: CanvasPlan) -> Array:
    """The latent mask (1, 1, h, w) of a plan's canvas, in bands of rows; grey is refined as all that is painted."""
    whole = plan.whole
    bands = (Box(0, top, whole.right, min(top + 8 * BAND, whole.bottom)) for top in range(0, whole.bottom, 8 * BAND))
    return np.concatenate([latent_mask(plan.mask_in(band) > 0) for band in bands], axis=2)
