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
from .components import TextEncoder, Unet, VaeDecoder, VaeEncoder
from .denoise import Predict, denoiser, guided, hold_known, with_mask_channels
from .engine_set import EngineSet
from .errors import OutpaintError
from .harmonize import color_match
from .images import open_picture, to_image
from .infill import choose_infill, infill
from .noise import TorchNoise, random_seed
from .prompts import Prompts
from .quality import QualityReport, report
from .request import OutpaintRequest
from .samplers import Constrain, Step, unconstrained
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
    timings: Timings
    device: str
    precision: str
    engine_set: str

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


class Start(NamedTuple):
    """What one picture's loop begins with: the first x_t, how x is pinned, and the prediction function."""

    x: Array
    constrain: Constrain
    predict: Predict
    draw: TorchNoise


class OutpaintRun:
    """Iterate over it once; then read `result`. `plan` can be read at once."""

    def __init__(self, models: Models, request: OutpaintRequest) -> None:
        self._models, self._request = models, request
        picture = open_picture(request.image)
        scaled = picture.resized(request.placement.scaled(picture.size))
        self.plan = plan(picture.size, request.placement, request.mask_expand, scaled.opaque)
        self._canvas = _on_canvas(scaled.pixels, self.plan)
        self._scheduler = request.chosen_scheduler
        self._walk = self._scheduler.plan(models.schedule, request.num_inference_steps, request.strength)
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
        latents = []
        calls = len(self._walk.calls)
        for done, seed in enumerate(seeds):
            for step in self._sample(seed, cond, uncond):
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
            timings=self._timings,
            device=engine.device,
            precision=engine.precision,
            engine_set=self._models.engine_set.digest,
        )

    def _embeddings(self) -> tuple[Array, Array]:
        prompts, encoder = self._models.prompts, self._models.text_encoder
        cond = encoder.encode(prompts.encode(self._request.prompt))
        if self._request.guidance_scale <= 1:
            return cond, cond
        return cond, encoder.encode(prompts.encode(self._request.negative_text))

    def _sample(self, seed: int, cond: Array, uncond: Array) -> Iterator[Step]:
        with self._timings.stage("vae_encoder"):
            start = self._start(seed)
        predict = guided(start.predict, cond, uncond, self._request.guidance_scale)
        sample = self._scheduler.sample
        if self._request.eta:
            sample = partial(sample, eta=self._request.eta)
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

    def _start(self, seed: int) -> Start:
        """Encode what this UNet needs, draw the noise, and decide by its channels how it learns what is known."""
        models, request = self._models, self._request
        engine_set, draw = models.engine_set, TorchNoise(seed)
        mask = latent_mask(self.plan.mask, engine_set.latent_factor)
        shape = (1, 4, *mask.shape[2:])
        nine = engine_set.unet_channels == 9
        from_picture = request.strength < 1
        known = None
        if from_picture or not nine:
            known = models.vae_encoder.encode(_to_model(self._filled(seed))).sample(draw.normal(shape))
        noise = draw.normal(shape)
        x = self._walk.begin(noise, known if from_picture else None)
        posterior_noise = draw.normal(shape)
        if nine:
            hidden = _to_model(self._canvas) * (self.plan.mask < 0.5)
            masked = models.vae_encoder.encode(hidden.astype(np.float32)).sample(posterior_noise)
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
                painted = color_match(painted, self._canvas, self.plan.unknown, reach)
            return paste_back(painted, self._canvas, self.plan.painted_share)


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
