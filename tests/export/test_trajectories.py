"""Every scheduler beside diffusers' own, live: spacings and noise schedules that the goldens do not hold."""

from functools import partial

import numpy as np
import pytest
from outpaint_export.parity.reference import SCHEDULERS, not_comparable

from outpaint_engine.denoise import denoiser, hold_known
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import find_scheduler
from outpaint_engine.schedule import NoiseSchedule

from ..pure.toy_model import SHAPE, toy_mask, toy_output
from .trajectories import trajectory

# diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
    for method in ("__array__ implementation", "__array_wrap__ must")
]
CONFIGS = {
    "leading": {},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace", "prediction_type": "v_prediction"},
    "linear betas": {"beta_schedule": "linear", "steps_offset": 0},
    "zero SNR": {
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
    },
}


@pytest.mark.parametrize("what", CONFIGS)
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("strength", [1.0, 0.75])
def test_every_step_equals_diffusers(name: str, what: str, strength: float) -> None:
    if reason := not_comparable(name, CONFIGS[what]):
        pytest.skip(reason)
    scheduler, schedule = find_scheduler(name), NoiseSchedule.from_config(CONFIGS[what])
    walk, draw = scheduler.plan(schedule, 12, strength), TorchNoise(7)
    known, start = draw.normal(SHAPE), draw.normal(SHAPE)
    sample = partial(
        scheduler.sample,
        constrain=hold_known(known, start, toy_mask()),
        noise=lambda: draw.normal(SHAPE),
    )
    x = walk.begin(start, known if strength < 1 else None)
    found = np.stack([step.x[0, :, 0] for step in sample(denoiser(toy_output, schedule), x, walk)])
    expected = trajectory(name, CONFIGS[what], 12, strength, 0.0, masked=True)
    assert found.shape == expected.shape
    assert (np.abs(found - expected).max((1, 2)) / np.abs(expected).max((1, 2))).max() < 1e-4
