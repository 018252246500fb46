"""The demo paints the same picture on every CPU backend."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineOptions, OutpaintPipeline, OutpaintRequest
from outpaint_engine.engines.table import find_backend
from outpaint_engine.errors import BackendUnavailable

PICTURE = Path(__file__).parents[2] / "examples" / "sunset-mountains.png"
REQUEST = OutpaintRequest(
    image=PICTURE, prompt="sunset mountains with sun", width=384, height=256, offset_x=64, num_inference_steps=8, seed=3
)


def painted(device: str, precision: str) -> np.ndarray:
    with OutpaintPipeline.from_pretrained("demo", device=device, options=EngineOptions(precision=precision)) as pipe:
        result = pipe(REQUEST)
    assert (result.backend, result.precision) == (find_backend(device).name, precision)
    return np.asarray(result.images[0], np.float64)


@pytest.mark.parametrize(("precision", "decibels"), [("fp32", 60), ("bf16", 40)])
def test_openvino_paints_what_the_reference_backend_paints(precision: str, decibels: float) -> None:
    probe = find_backend("openvino").probe()
    if not probe.usable:
        pytest.skip(f"openvino: {probe.reason}")
    try:
        ours = painted("openvino", precision)
    except BackendUnavailable as refusal:
        # Only a precision that this processor lacks may be refused.
        assert precision == "bf16"
        pytest.skip(str(refusal))
    error = np.mean((ours - painted("ort-cpu", "fp32")) ** 2)
    assert 10 * np.log10(255**2 / error) >= decibels
