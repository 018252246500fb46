"""UNets that were distilled with guidance: told its scale, run once a step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline
from outpaint_engine.components import Unet
from outpaint_engine.denoise import guidance_embedding
from outpaint_engine.errors import RequestError

WIDTH = 6
ASKED: dict[str, Any] = {"width": 96, "height": 64, "num_inference_steps": 2, "seed": 1, "scheduler": "LCM"}


@pytest.fixture
def told() -> list[np.ndarray]:
    """What the UNet of `pipe` was told, a call each."""
    return []


@pytest.fixture
def pipe(toy: Callable[..., OutpaintPipeline], told: list[np.ndarray]) -> OutpaintPipeline:
    def unet(sample: np.ndarray, timestep_cond: np.ndarray, **_: np.ndarray) -> dict[str, np.ndarray]:
        told.append(timestep_cond)
        return {"out_sample": 0.1 * sample}

    inputs: dict[str, tuple[int | str, ...]] = {
        "sample": ("B", 4, "h", "w"),
        "timestep": ("B",),
        "encoder_hidden_states": ("B", "tokens", 4),
        "timestep_cond": ("B", WIDTH),
    }
    made = toy()
    made.models = made.models._replace(unet=Unet(FunctionEngine(unet, inputs, {"out_sample": ("B", 4, "h", "w")})))
    return made


@pytest.mark.parametrize("scale", [1.0, 8.5])
def test_every_call_has_one_row_and_the_scales_embedding(
    scale: float, pipe: OutpaintPipeline, told: list[np.ndarray], picture: np.ndarray
) -> None:
    result = pipe(image=picture, guidance_scale=scale, **ASKED)
    assert result.timings.rows == [1, 1] and all(
        np.array_equal(each, guidance_embedding(scale, WIDTH)) for each in told
    )


@pytest.mark.parametrize(
    "fields", [{"guidance_rescale": 0.5}, {"guidance_interval": (0.2, 1.0)}, {"guidance_every": 2}], ids=str
)
def test_guidance_that_needs_a_second_prediction_is_refused(
    fields: dict[str, Any], pipe: OutpaintPipeline, picture: np.ndarray
) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(fields))} cannot be used: this UNet was distilled"):
        pipe(image=picture, **ASKED | {"scheduler": "DDIM"} | fields)


def test_a_negative_prompt_is_said_to_be_left_out(pipe: OutpaintPipeline, picture: np.ndarray) -> None:
    notes = pipe(image=picture, negative_prompt="fog", **ASKED).notes
    assert "The negative prompt is not read: this UNet was distilled with guidance." in notes
