"""The demo with its UNet not run whole in every step."""

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline
from outpaint_engine.denoise import Reuse

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra `cpu`)")


@pytest.mark.parametrize("method", ["forecast", "shallow"])
def test_either_method_stays_close_to_the_exact_run(method: str) -> None:
    picture = np.tile(np.linspace(60, 200, 64).astype(np.uint8)[:, None, None], (1, 32, 3))
    fields = {"image": picture, "prompt": "day sea", "width": 64, "height": 64, "offset_x": 16, "seed": 1}
    with OutpaintPipeline.from_pretrained("demo", device="ort-cpu") as pipe:
        exact, reused = (
            pipe(**fields, num_inference_steps=9, guidance_scale=2.5, reuse=reuse)
            for reuse in ("off", Reuse(2, method=method))
        )
    assert reused.timings.rows == [2, 0] * 4 + [2]
    error = np.abs(np.asarray(exact.images[0], float) - np.asarray(reused.images[0])).mean()
    assert 0 < error < 6
