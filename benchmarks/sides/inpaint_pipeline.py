"""What all peers with diffusers' inpaint pipeline share: the call, and when its steps end."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from outpaint_export.parity.reference import filled_canvas, reference_scheduler
from PIL import Image

from outpaint_engine.tensors import Array

from ..task import Task, Turn, request_of

__all__ = ["InpaintPipelineSide"]


def _nothing() -> None:
    """A CPU has nothing to wait for."""


class InpaintPipelineSide:
    """`wait` returns when the device has done what it was given; `dtype` is what the VAE takes."""

    def __init__(
        self,
        pipeline: Any,
        task: Task,
        facts: dict[str, Any],
        dtype: torch.dtype = torch.float32,
        wait: Callable[[], None] = _nothing,
    ) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline, self._task, self._dtype, self._wait = pipeline, task, dtype, wait
        self._channels = int(pipeline.unet.config["in_channels"])
        self._config = dict(pipeline.scheduler.config)
        self.facts = facts

    def run(self, seed: int) -> Turn:
        """The canvas is filled before the clock starts, the picture is decoded and nothing pasted back after."""
        task, pipeline = self._task, self._pipeline
        request = request_of(task, seed)
        mask, filled = filled_canvas(request, self._channels)
        # A new one for each run: some keep the last run's predictions.
        pipeline.scheduler = reference_scheduler(task.scheduler, self._config)
        ends: list[float] = []

        def step_ended(_: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            # Waiting between the first and the last would take from a device what it can do ahead.
            if step in (0, task.steps - 1):
                self._wait()
                ends.append(time.perf_counter())
            return kept

        began, cpu = time.perf_counter(), time.process_time()
        latents = pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            image=Image.fromarray(filled),
            mask_image=Image.fromarray((mask * 255).astype(np.uint8)),
            width=task.width,
            height=task.height,
            strength=1.0,
            num_inference_steps=task.steps,
            guidance_scale=task.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
            callback_on_step_end=step_ended,
        ).images
        decoded = self._decode(latents)
        picture, cpu = time.perf_counter() - began, time.process_time() - cpu
        step = (ends[-1] - ends[0]) / (task.steps - 1)
        return Turn(step, picture, latents.float().cpu().numpy(), cpu=cpu, painted=decoded[mask == 1])

    def _decode(self, latents: torch.Tensor) -> Array:
        scale = self._pipeline.vae.config["scaling_factor"]
        with torch.no_grad():
            decoded = self._pipeline.vae.decode((latents / scale).to(self._dtype), return_dict=False)[0]
        return ((decoded[0].permute(1, 2, 0).float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().cpu().numpy()
