"""The prediction function that everything here wraps, and how a sampler reads it."""

from collections.abc import Callable

import numpy as np

from ..errors import NumericalError
from ..samplers import Denoise
from ..schedule import NoiseSchedule, Prediction, Time
from ..tensors import Array

__all__ = ["Predict", "denoiser"]

Predict = Callable[[Array, float, Array], Array]
"""(sample (B, C, h, w), timestep, text embeddings (B, tokens, width)) -> the UNet's raw output (B, 4, h, w)."""


def denoiser(predict: Callable[[Array, float], Array], schedule: NoiseSchedule) -> Denoise:
    """Read the model's output by the schedule, and stop at the first value that is not finite."""
    step = 0

    def denoise(x: Array, time: Time) -> Prediction:
        nonlocal step
        step += 1
        # Samplers of Karras' kind keep x_0 + sigma eps; the model was trained on x of variance 1.
        divisor = time.level.divisor
        output = predict(x if divisor == 1 else x / np.float32(divisor), time.t)
        if not np.isfinite(output).all():
            raise NumericalError(
                f"The UNet answered with NaN or infinity at step {step} (timestep {time.t:g}). This engine's "
                "precision does not hold the model: use an fp32 engine set, or export it again."
            )
        return schedule.read(output, x, time.level)

    return denoise
