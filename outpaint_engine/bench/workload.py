"""The request that is timed, made without any file."""

from dataclasses import replace

import numpy as np

from ..engines import EngineOptions
from ..request import OutpaintRequest
from ..run import bucket_of
from ..tensors import Array
from .record import BenchOptions

__all__ = ["bench_request", "loading", "ramps"]


def bench_request(options: BenchOptions, native_size: int, number: int) -> OutpaintRequest:
    """The request of the `number`th picture: half the canvas wide and high is given, in its middle.

    Texts and seed change with the number, because a text that was encoded before would cost no call.
    """
    width, height = options.width or native_size, options.height or native_size
    given = max(8, width // 16 * 8), max(8, height // 16 * 8)
    return OutpaintRequest(
        image=ramps(*given),
        prompt=f"a wide view over hills and water, take {number}",
        negative_prompt=f"people, take {number}",
        width=width,
        height=height,
        offset_x=(width - given[0]) // 16 * 8,
        offset_y=(height - given[1]) // 16 * 8,
        scheduler=options.scheduler,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance_scale,
        num_images=options.batch,
        seed=number * options.batch,
        # What is measured is the model on the whole canvas.
        detail="off",
    )


def loading(options: BenchOptions, request: OutpaintRequest) -> EngineOptions:
    """How to load engines that are to run `request`: as asked, and ready for its shape."""
    return replace(options.load, buckets=options.load.buckets or (bucket_of(request, options.batch),))


def ramps(width: int, height: int) -> Array:
    """Colour ramps with noise over them, uint8 (height, width, 3)."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    smooth = np.stack([240 * x, 240 * y, 255 - 190 * x], axis=-1)
    return np.clip(smooth + np.random.default_rng(5).integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)
