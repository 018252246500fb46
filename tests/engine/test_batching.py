"""Requests of the demo model at different steps share UNet calls, and come out as if each had run alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintRequest
from outpaint_engine.components import Unet
from outpaint_engine.engines import BatchingEngine

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")

PICTURE = Path(__file__).parents[2] / "examples" / "sunset-mountains.png"


def test_requests_that_share_calls_give_the_latents_of_requests_that_run_alone() -> None:
    requests = [
        OutpaintRequest(
            image=PICTURE, prompt=prompt, width=128, height=128, scale=0.25, num_inference_steps=3, seed=seed
        )
        for seed, prompt in enumerate(("sunset mountains", "night sea", "day hills"))
    ]
    with OutpaintPipeline.from_pretrained("demo", device="cpu") as pipe:
        alone = [pipe(request).latents for request in requests]
        merged = BatchingEngine(pipe.models.unet.engine, patience=0.5)
        shared = OutpaintPipeline(pipe.models._replace(unet=Unet(merged)))
        with ThreadPoolExecutor(len(requests)) as pool:
            together = [result.latents for result in pool.map(shared, requests)]
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
