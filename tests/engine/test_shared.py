"""On the demo, requests that share a model paint what they paint alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from outpaint_engine import OutpaintRequest, SharedPipeline

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")


def test_what_runs_together_equals_what_runs_alone(picture: np.ndarray) -> None:
    requests = [
        OutpaintRequest(image=picture, prompt="day hills", width=128, height=128, num_inference_steps=4, seed=seed)
        for seed in range(4)
    ]
    with SharedPipeline.from_pretrained("demo", device="cpu", at_once=4) as pipe:

        def painted(request: OutpaintRequest) -> bytes:
            return pipe(request).images[0].tobytes()

        alone = [painted(request) for request in requests]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(painted, requests)) == alone
