"""The latents after every step of a run, and how far two runs are apart: in full, or by recorded sums.

The latents of all recorded runs would take 20 MB, so 16 sums of each step are kept, over all its values with random
normal weights. The root mean square of what an error adds to the sums estimates the error's length, which is never
below its largest value. Of an error in a single value it is the length; 6 in 100,000 estimates are below 0.4 of it.
"""

import numpy as np

from outpaint_engine.noise import TorchNoise
from outpaint_engine.run import OutpaintRun

SUMS = 16


def latents_of_steps(run: OutpaintRun) -> np.ndarray:
    """x after every UNet call, float32 (calls, 4, h, w); the run is left before anything is decoded."""
    latents = []
    for progress in run:
        latents.append(progress.sampled.x)
        if progress.step == progress.steps:
            break
    return np.concatenate(latents)


def step_sums(latents: np.ndarray, sums: int = SUMS) -> np.ndarray:
    """The sums of each step, float32 (calls, sums)."""
    flat = latents.reshape(len(latents), -1)
    weights = TorchNoise(0).normal((flat.shape[1], sums)).astype(np.float64)
    weights /= np.sqrt((weights**2).mean(axis=1, keepdims=True))
    return (flat @ weights).astype(np.float32)


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Of each step the largest difference over the largest value; the worst step's."""
    assert found.shape == expected.shape
    return float((_largest(found - expected) / _largest(expected)).max())


def estimated_error(found: np.ndarray, expected_sums: np.ndarray) -> float:
    """As `largest_error`, from what was recorded of the expected latents; the length in place of the largest value."""
    difference = step_sums(found, expected_sums.shape[1]) - expected_sums
    return float((np.sqrt((difference**2).mean(axis=1)) / _largest(found)).max())


def _largest(latents: np.ndarray) -> np.ndarray:
    return np.abs(latents).reshape(len(latents), -1).max(axis=1)
