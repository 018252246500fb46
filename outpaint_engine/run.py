"""One request being run, from picture to picture. Iterate for progress; stop iterating to cancel.

The order of random draws is diffusers' (pipeline_stable_diffusion_inpaint.py): the posterior of the filled
canvas if its latents are needed, then the starting noise, then the posterior of the masked picture.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .canvas import CanvasPlan, latent_mask, paste_back, plan
from .components import Posterior, TextEncoder, Unet, VaeDecoder, VaeEncoder
from .denoise import Predict, denoiser, guided, hold_known, with_mask_channels
from .engine_set import EngineSet
from .errors import OutpaintError
from .harmonize import color_match
from .images import open_picture, to_image
from .infill import choose_infill, infill
from .noise import NoiseSource, noise_source, random_seed
from .prompts import Prompts
from .quality import QualityReport, report
from .request import OutpaintRequest
from .samplers import Constrain, Sampler, Step, Walk, ddim, unconstrained
from .schedule import NoiseSchedule
from .tensors import Array
from .timing import Timings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Models", "OutpaintResult", "OutpaintRun", "Progress"]


class Models(NamedTuple):
    """An opened engine set: its facts, its schedule and tokenizer, and its four loaded parts."""

    engine_set: EngineSet
    schedule: NoiseSchedule
    prompts: Prompts
    text_encoder: TextEncoder
    unet: Unet
    vae_encoder: VaeEncoder
    vae_decoder: VaeDecoder


@dataclass(frozen=True)
class OutpaintResult:
    """What a run gives back; `images`, `seeds` and `quality` have one entry a picture.

    `latents` are the final ones, float32 (num_images, 4, h, w), before decoding; `engine_set` is the SHA-256
    of the set's manifest, empty where it has none.
    """

    images: "list[Image]"
    seeds: list[int]
    quality: list[QualityReport]
    latents: Array
    plan: CanvasPlan
    notes: tuple[str, ...]
    timings: Timings
    device: str
    precision: str
    engine_set: str
    noise: str

    @property
    def seed(self) -> int:
        """The first picture's seed: pass it to get that picture again."""
        return self.seeds[0]


@dataclass(frozen=True)
class Progress:
    """After one call of the UNet: `step` of `steps`, counted over all pictures of the request.

    Heun and the DPM2 family call it twice a step, so that 25 of their steps count 49.
    """

    step: int
    steps: int
    sampled: Step
    decoder: VaeDecoder

    def preview(self) -> "Image":
        """The picture as the model sees it now; costs one call of the VAE decoder."""
        return to_image(_to_levels(self.decoder.decode(self.sampled.x0)).round().astype(np.uint8))


class Encoded(NamedTuple):
    """Posteriors of the filled canvas (4 channels, or strength below 1) and of the masked picture (9 channels)."""

    filled: Posterior | None
    masked: Posterior | None


class Start(NamedTuple):
    """What one picture's loop begins with: the first x_t, how x is pinned, and the prediction function."""

    x: Array
    constrain: Constrain
    predict: Predict
    draw: NoiseSource


class OutpaintRun:
    """Iterate over it once; then read `result`. `plan` and `notes` (what a person should know) can be read at once."""

    def __init__(self, models: Models, request: OutpaintRequest) -> None:
        self._models, self._request = models, request
        picture = open_picture(request.image)
        scaled = picture.resized(request.placement.scaled(picture.size))
        self.plan = plan(picture.size, request.placement, request.mask_expand, scaled.opaque)
        self._canvas = _on_canvas(scaled.pixels, self.plan)
        self._scheduler = request.chosen_scheduler
        self._walk = self._scheduler.plan(models.schedule, request.num_inference_steps, request.strength)
        self.notes = (
            *self.plan.warnings,
            *_size_notes(request, models.engine_set.native_size),
            *_timestep_notes(self._walk, models.unet),
        )
        self._timings = Timings()
        self._result: OutpaintResult | None = None

    @property
    def result(self) -> OutpaintResult:
        """The result.

        Raises:
            OutpaintError: the iteration has not ended.
        """
        if self._result is None:
            raise OutpaintError("This run has no result yet: iterate over it to the end first.")
        return self._result

    def __iter__(self) -> Iterator[Progress]:
        """Run; one `Progress` a sampling step."""
        request, engine = self._request, self._models.unet.engine
        first = request.seed if request.seed >= 0 else random_seed()
        seeds = [first + index for index in range(request.num_images)]
        with self._timings.stage("text_encoder"):
            cond, uncond = self._embeddings()
        encoded = self._encode(first)
        latents = []
        calls = len(self._walk.calls)
        for done, seed in enumerate(seeds):
            for step in self._sample(self._start(seed, encoded), cond, uncond):
                number, total = done * calls + step.number + 1, len(seeds) * calls
                yield Progress(number, total, step, self._models.vae_decoder)
            latents.append(step.x)
        pictures = [self._finish(x) for x in latents]
        with self._timings.stage("quality"):
            quality = [report(pixels, self._canvas, self.plan, request.mask_expand) for pixels in pictures]
        self._result = OutpaintResult(
            images=[to_image(pixels) for pixels in pictures],
            seeds=seeds,
            quality=quality,
            latents=np.concatenate(latents),
            plan=self.plan,
            notes=self.notes,
            timings=self._timings,
            device=engine.device,
            precision=engine.precision,
            engine_set=self._models.engine_set.digest,
            noise=request.noise,
        )

    def _embeddings(self) -> tuple[Array, Array]:
        prompts, encoder = self._models.prompts, self._models.text_encoder
        cond = encoder.encode(prompts.encode(self._request.prompt))
        if self._request.guidance_scale <= 1:
            return cond, cond
        return cond, encoder.encode(prompts.encode(self._request.negative_text))

    def _sample(self, start: Start, cond: Array, uncond: Array) -> Iterator[Step]:
        predict = guided(start.predict, cond, uncond, self._request.guidance_scale)
        # A request with eta above 0 is one for DDIM.
        eta = self._request.eta
        sample: Sampler = partial(ddim, eta=eta) if eta else self._scheduler.sample
        steps = sample(
            denoiser(predict, self._models.schedule),
            start.x,
            self._walk,
            constrain=start.constrain,
            noise=lambda: start.draw.normal(start.x.shape),
        )
        began = time.perf_counter()
        for step in steps:
            self._timings.steps.append(time.perf_counter() - began)
            yield step
            began = time.perf_counter()

    def _encode(self, seed: int) -> Encoded:
        """Encode what this UNet needs at this strength; once, whatever the number of pictures."""
        filled = masked = None
        nine = self._models.engine_set.unet_channels == 9
        if not nine or self._request.strength < 1:
            with self._timings.stage("infill"):
                canvas = self._filled(seed)
            with self._timings.stage("vae_encoder"):
                filled = self._models.vae_encoder.encode(_to_model(canvas))
        if nine:
            hidden = _to_model(self._canvas) * (self.plan.mask < 0.5)
            with self._timings.stage("vae_encoder"):
                masked = self._models.vae_encoder.encode(hidden.astype(np.float32))
        return Encoded(filled, masked)

    def _start(self, seed: int, encoded: Encoded) -> Start:
        """Draw the noise, and decide by what was encoded how the UNet learns what is known."""
        models, draw = self._models, noise_source(self._request.noise, seed)
        mask = latent_mask(self.plan.mask, models.engine_set.latent_factor)
        shape = (1, 4, *mask.shape[2:])
        known = encoded.filled.sample(draw.normal(shape)) if encoded.filled else None
        noise = draw.normal(shape)
        # diffusers encodes the masked picture for 4-channel UNets too, and throws the latents away.
        posterior_noise = draw.normal(shape)
        x = self._walk.begin(noise, known if self._request.strength < 1 else None)
        if encoded.masked is not None:
            masked = encoded.masked.sample(posterior_noise)
            return Start(x, unconstrained, with_mask_channels(models.unet.predict, mask, masked), draw)
        assert known is not None
        return Start(x, hold_known(known, noise, mask), models.unet.predict, draw)

    def _filled(self, seed: int) -> Array:
        kind = self._request.infill
        if kind == "auto":
            kind = choose_infill(self._models.engine_set.unet_channels, self._request.strength)
        return infill(kind, self._canvas, self.plan.unknown, np.random.default_rng(seed))

    def _finish(self, latents: Array) -> Array:
        with self._timings.stage("vae_decoder"):
            painted = _to_levels(self._models.vae_decoder.decode(latents))
        with self._timings.stage("paste_back"):
            if self._request.color_match:
                reach = self._models.engine_set.native_size // 4
                painted = color_match(painted, self._canvas, self.plan.mask, reach)
            return paste_back(painted, self._canvas, self.plan.painted_share)


def _size_notes(request: OutpaintRequest, native_size: int) -> list[str]:
    """A canvas far beyond what the model was trained at is slow, and shows things twice."""
    if request.width * request.height <= 4 * native_size**2:
        return []
    return [
        f"The canvas is {request.width}x{request.height} and the model was trained at {native_size}x{native_size}: "
        "this is slow, and things may appear twice. Use a smaller scale."
    ]


def _timestep_notes(walk: Walk, unet: Unet) -> list[str]:
    """A graph of whole timesteps cannot be asked between two of them."""
    if not unet.whole_timesteps or all(walk.times[index].t.is_integer() for index in walk.calls):
        return []
    return [
        "This scheduler looks between timesteps and this engine set takes whole ones, so it is told the nearest: the "
        "picture differs slightly from diffusers'. Export the checkpoint again for a UNet that takes any."
    ]


def _on_canvas(scaled: Array, plan: CanvasPlan) -> Array:
    """The scaled picture on a grey canvas, uint8 (height, width, 3)."""
    canvas = np.full((*plan.unknown.shape, 3), 127, np.uint8)
    box, placed = plan.visible, plan.placed
    canvas[box.top : box.bottom, box.left : box.right] = scaled[
        box.top - placed.top : box.bottom - placed.top, box.left - placed.left : box.right - placed.left
    ]
    return canvas


def _to_model(pixels: Array) -> Array:
    """uint8 (height, width, 3) to float32 (1, 3, height, width) in [-1, 1]."""
    return (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]


def _to_levels(pixels: Array) -> Array:
    """float32 (1, 3, height, width) in about [-1, 1] to float32 (height, width, 3) in [0, 255]."""
    return np.clip(pixels[0].transpose(1, 2, 0) * 127.5 + 127.5, 0, 255).astype(np.float32)
