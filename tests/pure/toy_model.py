"""A denoising model of one line, for trajectories that are compared with diffusers' schedulers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from outpaint_engine.denoise import denoiser, hold_known
from outpaint_engine.noise import TorchNoise
from outpaint_engine.samplers import scheduler_of
from outpaint_engine.schedule import NoiseSchedule

SHAPE = (1, 4, 4, 4)


def toy_output(x: np.ndarray, t: float) -> np.ndarray:
    """Smooth, mixing neighbours, different at every timestep."""
    return np.tanh(0.7 * x + 0.2 * np.roll(x, 1, axis=-1) - 0.1 * np.float32(t / 1000)).astype(np.float32)


def toy_mask() -> np.ndarray:
    """The right half is painted."""
    mask = np.zeros(SHAPE, np.float32)
    mask[..., 2:] = 1
    return mask


def toy_trajectory(
    name: str, config: Mapping[str, Any], steps: int, strength: float = 1.0, eta: float = 0.0, masked: bool = True
) -> np.ndarray:
    """Every x of a run here, (calls, 4, 4): the first row of each channel. `config` is a `scheduler_config.json`."""
    scheduler, settings = scheduler_of(name, config)
    schedule, draw = NoiseSchedule(settings), TorchNoise(7)
    walk = scheduler.plan(schedule, steps, strength)
    known, start = draw.normal(SHAPE), draw.normal(SHAPE)
    sample = partial(scheduler.sample, eta=eta) if eta else scheduler.sample
    run = sample(
        denoiser(toy_output, schedule),
        walk.begin(start, known if strength < 1 else None),
        walk,
        noise=lambda: draw.normal(SHAPE),
        **({"constrain": hold_known(known, start, toy_mask())} if masked else {}),
    )
    return np.stack([step.x[0, :, 0] for step in run])


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, over the steps, of the largest difference over the largest value."""
    assert found.shape == expected.shape
    return float((np.abs(found - expected).max((1, 2)) / np.abs(expected).max((1, 2))).max())
