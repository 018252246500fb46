"""Engine sets whose UNet takes whole timesteps, as Optimum's do: what a person is told."""

from collections.abc import Callable

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline, OutpaintRequest
from outpaint_engine.components import Unet

from ...conftest import toy_unet


@pytest.mark.parametrize(
    ("scheduler", "dtype", "noted"),
    [("DPM2 Karras", "int64", True), ("DPM2 Karras", "float32", False), ("DDIM", "int64", False)],
)
def test_a_scheduler_between_timesteps_is_noted_where_the_graph_takes_whole_ones(
    toy: Callable[..., OutpaintPipeline], picture: np.ndarray, scheduler: str, dtype: str, noted: bool
) -> None:
    engine = FunctionEngine(
        toy_unet,
        {"sample": ("B", 4, "h", "w"), "timestep": ("B",), "encoder_hidden_states": ("B", 77, 4)},
        {"out_sample": ("B", 4, "h", "w")},
        {"timestep": dtype},
    )
    pipe = OutpaintPipeline(toy().models._replace(unet=Unet(engine)))
    run = pipe.steps(OutpaintRequest(image=picture, width=128, height=64, offset_x=32, scheduler=scheduler))
    assert any("takes whole ones" in note for note in run.notes) == noted
