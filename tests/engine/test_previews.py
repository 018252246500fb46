"""Previews by the colours of latents, beside those that the decoder makes, on the demo."""

import numpy as np
from demo_model.scenes import draw

from outpaint_engine import OutpaintPipeline

from .demo.painted_figures import SIDE
from .demo_figures import held_out

LEAST_MEAN, LEAST = 20.0, 14.0
"""Decibels: of all steps of a run in the mean, and of each; the first steps are the furthest off."""


def test_previews_are_near_the_decoded_ones() -> None:
    found = []
    with OutpaintPipeline.from_pretrained("demo") as pipe:
        for scene in held_out(2):
            fields = {"width": 384, "height": 256, "offset_x": 64, "num_inference_steps": 8, "seed": 1}
            for progress in pipe.steps(image=draw(scene, SIDE, SIDE), prompt="sunset sea", **fields):
                plain, decoded = progress.preview(), progress.preview(decoded=True)
                assert plain.size == decoded.size == (384, 256)
                found.append(psnr(np.asarray(plain), np.asarray(decoded)))
    assert np.mean(found) > LEAST_MEAN
    assert min(found) > LEAST


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))
