"""The whole canvas at once, from picture to picture. Iterate for progress; stop iterating to cancel."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np

from ..canvas import color_match, paste_back, report
from ..components import Models
from ..denoise import Guidance, Predict, corrected, denoiser, forecast, forecast_features, guided, guided_calls
from ..errors import RequestError
from ..images import to_image
from ..noise import random_seed
from ..on_device import DeviceStep, Given, run_on_device
from ..prompts import Chunks, PromptPair, weighted
from ..request import OutpaintRequest
from ..samplers import Sampler, Step, linear_steps, scheduler_of
from ..schedule import NoiseSchedule, notes_on
from ..shapes import Bucket
from ..tensors import Array
from ..timing import Timings
from .notes import decoder_notes, distilled_notes, lora_notes, size_notes, timestep_notes, weight_notes
from .place import Placed
from .result import OutpaintResult, OutpaintRun, Progress, to_levels
from .start import Start, Starter

__all__ = ["StraightRun", "bucket_of", "pictures_per_call"]

SCORES = 2**25
"""Squared latent positions of all pictures in one UNet call: with guidance and SD1.5's 8 heads, the attention scores
of the largest layer take 64 bytes each in float32, where the backend writes them out."""
MOST_PICTURES = 4


def pictures_per_call(width: int, height: int, most: int | None = None) -> int:
    """How many pictures of a request share a UNet call: `most`, else what keeps attention within 2 GiB, up to 4.

    2 at 512x512 pixels, 1 beyond, 4 at 256x256. On 2 CPU cores more than 4 brought no speed.
    """
    return most or max(1, min(MOST_PICTURES, SCORES // (width * height // 64) ** 2))


def bucket_of(request: OutpaintRequest, most: int | None = None) -> Bucket:
    """The shape of the request's UNet calls, for `EngineOptions.buckets`; `most` as in `pictures_per_call`."""
    pictures = min(request.num_images, pictures_per_call(request.width, request.height, most))
    return Bucket(request.width, request.height, pictures * (2 if request.guidance_scale > 1 else 1))


class StraightRun(OutpaintRun):
    """The whole canvas at once, as diffusers paints it; `scheduler` is what the request's name is on this engine set.

    `max_batch` bounds how many pictures share a UNet call; without it `pictures_per_call` chooses.
    """

    def __init__(self, models: Models, request: OutpaintRequest, placed: Placed, max_batch: int | None = None) -> None:
        super().__init__(placed.plan)
        self._models = models.wrapping(request.wrap).guided_by(request.guidance_scale)
        self._request, self._canvas = request, placed.canvas
        self._batch = pictures_per_call(request.width, request.height, max_batch)
        config = models.engine_set.scheduler
        self.scheduler, settings = scheduler_of(request.scheduler, config)
        request.check_scheduler(self.scheduler)
        self.schedule = NoiseSchedule(settings)
        self._walk = self.scheduler.plan(self.schedule, request.num_inference_steps, request.strength)
        self._whole = request.chosen_reuse.whole_calls(len(self._walk.calls), self._guidance.calls)
        request.chosen_reuse.check_shallow(models.has_shallow)
        self._texts = self._read_prompts()
        self.notes = (
            *self.plan.warnings,
            *weight_notes(models.engine_set),
            *size_notes(request, models.engine_set.native_size),
            *notes_on(settings, config),
            *timestep_notes(self._walk, models.unet),
            *request.chosen_reuse.notes(len(self._whole), len(self._walk.calls)),
            *self._guidance.notes(),
            *distilled_notes(request, models.unet),
            *self._texts.notes,
            *lora_notes(models.loras),
            *decoder_notes(self._models.vae_decoder),
        )
        self._timings = Timings()

    @property
    def sampler(self) -> Sampler:
        """The scheduler's sampler, with the request's eta."""
        eta, sample = self._request.eta, self.scheduler.sample
        # A request with eta above 0 is one for a sampler that takes it.
        return cast(Sampler, partial(cast(Any, sample), eta=eta)) if eta else sample

    def __iter__(self) -> Iterator[Progress]:
        """Run; one `Progress` a UNet call."""
        request = self._request
        first = request.seed if request.seed >= 0 else random_seed()
        seeds = [first + index for index in range(request.num_images)]
        with self._timings.stage("text_encoder"):
            cond, uncond = self.embeddings()
        starter = Starter(self._models, request, self.plan, self._canvas, self._timings)
        latents: list[Array] = []
        batches = [range(at, min(at + self._batch, len(seeds))) for at in range(0, len(seeds), self._batch)]
        calls = len(self._walk.calls)
        for done, pictures in enumerate(batches):
            start = starter.start([seeds[index] for index in pictures], self._walk, self._predict())
            for step in self._sample(start, cond, uncond):
                number, total = done * calls + step.number + 1, len(batches) * calls
                models, colours = self._models, self._models.engine_set.latent_colours
                yield Progress(
                    number, total, step, models.vae_decoder, pictures, colours=colours, tiny=models.tiny_decoder
                )
            latents.extend(step.x[row : row + 1] for row in range(len(pictures)))
        self._result = self._finished(seeds, latents)

    def _read_prompts(self) -> PromptPair:
        request, prompts, taken = self._request, self._models.prompts, self._models.unet.text_tokens
        negative = request.negative_text if self._guidance.calls else ""
        texts = prompts.pair(request.prompt, negative, request.prompt_weighting, request.long_prompts)
        if taken is not None and taken != texts.prompt.ids.size:
            raise RequestError(
                f"The prompts need {len(texts.prompt.ids)} chunks of {prompts.room} tokens, and this engine set's UNet "
                f"takes {taken // prompts.length}. Shorten them, set long_prompts to 'truncate', or export the "
                "checkpoint again with `outpaint-export onnx`."
            )
        return texts

    def embeddings(self) -> tuple[Array, Array]:
        """Embeddings of prompt and negative prompt, (1, 77 n, width) for n chunks."""
        request = self._request
        cond = self._embedded(self._texts.prompt, request.clip_skip)
        if not self._guidance.calls:
            return cond, cond
        # diffusers takes the last layer for the negative prompt whatever clip_skip says (encode_prompt).
        return cond, self._embedded(self._texts.negative, request.clip_skip if request.clip_skip_negative else None)

    def _embedded(self, chunks: Chunks, skip: int | None) -> Array:
        # Chunk by chunk, so that what is kept of one serves whatever it is combined with.
        encode = self._models.text_encoder.encode
        rows = zip(chunks.ids, chunks.weights, chunks.mask, strict=True)
        encoded = [weighted(encode(ids[None], skip, mask[None]), weights) for ids, weights, mask in rows]
        return np.concatenate(encoded, axis=1)

    @property
    def _guidance(self) -> Guidance:
        request = self._request
        calls = guided_calls(request.guidance_interval, len(self._walk.calls), self.scheduler.calls_per_step)
        # At 1 the guided prediction is the prompt's own; below, diffusers guides no more.
        return Guidance(
            request.guidance_scale,
            calls if request.guidance_scale > 1 and not self._models.unet.takes_guidance else range(0),
            request.guidance_rescale,
            request.guidance_every,
        )

    def _predict(self) -> Predict:
        """The UNet for one batch, with what stands in for it where it is not run whole."""
        unet, shallow, reuse = self._models.unet, self._models.shallow, self._request.chosen_reuse
        if not reuse:
            return unet.predict
        slope = reuse.slope(self._guidance.scale)
        if shallow is not None and reuse.method == "shallow":
            return forecast_features(unet.predict_deep, shallow.predict_shallow, self._whole, slope)
        return forecast(unet.predict, self._whole, slope)

    def _sample(self, start: Start, cond: Array, uncond: Array) -> Iterator[Step | DeviceStep]:
        steps = self._on_device(start, cond, uncond) or self._through_arrays(start, cond, uncond)
        began = time.perf_counter()
        for step in steps:
            self._timings.steps.append(time.perf_counter() - began)
            yield step
            began = time.perf_counter()

    def _on_device(self, start: Start, cond: Array, uncond: Array) -> Iterator[DeviceStep | Step] | None:
        """The run without arrays between its calls; None where something of it needs them."""
        unet, guidance, calls = self._models.unet, self._guidance, range(len(self._walk.calls))
        plain = guidance.calls in (range(0), calls) and guidance.every == 1 and not guidance.rescale
        plain = plain and not unet.takes_guidance
        if start.by_grey or self._request.chosen_reuse or not plain or unet.engine.bound_calls() is None:
            return None
        linear = linear_steps(self.sampler, self._walk)
        if linear is None:
            return None
        texts = np.concatenate([uncond, cond]) if guidance.calls else cond
        context = texts.repeat(len(start.x), axis=0)
        scale = guidance.scale if guidance.calls else None
        steps = run_on_device(unet.engine, linear, Given(start.x, context, start.held, start.extra, scale))
        self._timings.rows.extend(len(context) for _ in calls if steps)
        return steps

    def _through_arrays(self, start: Start, cond: Array, uncond: Array) -> Iterator[Step]:
        call = -1

        def counted(sample: Array, timestep: float, context: Array) -> Array:
            nonlocal call
            call += 1
            self._timings.rows.append(len(sample) if call in self._whole else 0)
            return start.predict(sample, timestep, context)

        reuse, guidance, calls = self._request.chosen_reuse, self._guidance, len(self._walk.calls)
        guidance = guidance._replace(kept=reuse.kept(calls, self._whole, guidance.scale))
        denoise = denoiser(guided(counted, cond, uncond, guidance), self.schedule)
        until = reuse.corrected_until(calls, self.scheduler, guidance.scale)
        if until:
            denoise = corrected(denoise, self.schedule, self._whole, until)
        return self.sampler(denoise, start.x, self._walk, constrain=start.constrain, noise=start.noise)

    def _finished(self, seeds: list[int], latents: list[Array]) -> OutpaintResult:
        """Decode one picture at a time, which needs the least memory, and measure it."""
        engine = self._models.unet.engine
        pictures = [self._finish(x) for x in latents]
        with self._timings.stage("quality"):
            quality = [report(pixels, self._canvas, self.plan) for pixels in pictures]
        return OutpaintResult(
            images=[to_image(pixels) for pixels in pictures],
            seeds=seeds,
            quality=quality,
            latents=np.concatenate(latents),
            plan=self.plan,
            notes=self.notes,
            timings=self._timings,
            backend=engine.backend,
            device=engine.device,
            precision=engine.precision,
            engine_set=self._models.engine_set.digest,
            noise=self._request.noise,
            scheduler=self.scheduler.name,
            loras=self._models.loras,
        )

    def _finish(self, latents: Array) -> Array:
        with self._timings.stage("vae_decoder"):
            painted = to_levels(self._models.vae_decoder.decode(latents))
        with self._timings.stage("paste_back"):
            if self._request.color_match:
                blur, reach = self.plan.mask_expand // 4, self._models.engine_set.native_size // 4
                painted = color_match(painted, self._canvas, self.plan.painted_share, blur, reach, self.plan.wrap)
            return paste_back(painted, self._canvas, self.plan.painted_share)
