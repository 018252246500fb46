"""Closures around the UNet: guidance, mask channels, the pinned known region, and the check for NaN.

Each takes a prediction function and returns one, so a sampler sees only `Denoise`.
"""

from collections.abc import Callable

import numpy as np

from .errors import NumericalError
from .samplers import Constrain, Denoise
from .schedule import Level, NoiseSchedule, Prediction, Time
from .tensors import Array

__all__ = ["Predict", "denoiser", "guided", "hold_known", "with_mask_channels"]

Predict = Callable[[Array, float, Array], Array]
"""(sample (B, C, h, w), timestep, text embeddings (B, tokens, width)) -> the UNet's raw output (B, 4, h, w)."""


def with_mask_channels(predict: Predict, mask: Array, masked_latents: Array) -> Predict:
    """For 9-channel UNets: append the mask (1, 1, h, w) and the masked picture's latents (1, 4, h, w)."""
    extra = np.concatenate([mask, masked_latents], axis=1).astype(np.float32)

    def nine_channels(sample: Array, timestep: float, context: Array) -> Array:
        repeated = np.broadcast_to(extra, (len(sample), *extra.shape[1:]))
        return predict(np.concatenate([sample, repeated], axis=1), timestep, context)

    return nine_channels


def guided(predict: Predict, cond: Array, uncond: Array, scale: float) -> Callable[[Array, float], Array]:
    """Classifier-free guidance (Ho & Salimans 2022) in one batch of 2; one pass when `scale` is 1 or below.

    `cond` and `uncond` are text embeddings (1, tokens, width); diffusers' order, uncond first.
    """
    if scale <= 1:
        return lambda x, t: predict(x, t, cond)
    context = np.concatenate([uncond, cond])
    weight = np.float32(scale)

    def both(x: Array, t: float) -> Array:
        without, with_prompt = predict(np.concatenate([x, x]), t, context)[:, None]
        return without + weight * (with_prompt - without)

    return both


def denoiser(predict: Callable[[Array, float], Array], schedule: NoiseSchedule) -> Denoise:
    """Read the model's output by the schedule, and stop at the first value that is not finite."""
    step = 0

    def denoise(x: Array, time: Time) -> Prediction:
        nonlocal step
        step += 1
        # Samplers of Karras' kind keep x_0 + sigma eps; the model was trained on x of variance 1.
        scale = time.level.scale
        output = predict(x if abs(scale - 1) < 1e-9 else x / np.float32(scale), time.t)
        if not np.isfinite(output).all():
            raise NumericalError(
                f"The UNet answered with NaN or infinity at step {step} (timestep {time.t:g}). This engine's "
                "precision does not hold the model: use an fp32 engine set, or export it again."
            )
        return schedule.read(output, x, time.level)

    return denoise


def hold_known(known: Array, noise: Array, mask: Array) -> Constrain:
    """For 4-channel UNets: put the known latents, noised to the current level, wherever `mask` is 0.

    Always the same `noise`, as in diffusers' inpaint pipeline. Soft masks blend.
    """

    def constrain(x: Array, level: Level) -> Array:
        return (1 - mask) * level.mix(known, noise) + mask * x

    return constrain
