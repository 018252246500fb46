"""Closures around the UNet: guidance, mask channels, the pinned known region, and the check for NaN.

Each takes a prediction function and returns one, so a sampler sees only `Denoise`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .errors import NumericalError
from .samplers import Constrain, Denoise
from .schedule import Level, NoiseSchedule, Prediction, Time
from .tensors import Array

__all__ = ["Guidance", "Predict", "denoiser", "guided", "guided_calls", "hold_known", "with_mask_channels"]

Predict = Callable[[Array, float, Array], Array]
"""(sample (B, C, h, w), timestep, text embeddings (B, tokens, width)) -> the UNet's raw output (B, 4, h, w)."""


def with_mask_channels(predict: Predict, mask: Array, masked_latents: Array) -> Predict:
    """For 9-channel UNets: append the mask (1, 1, h, w) and the masked picture's latents (B, 4, h, w).

    A sample has B rows, or with guidance twice B.
    """
    masks = mask.repeat(len(masked_latents), axis=0)
    extra = np.concatenate([masks, masked_latents], axis=1).astype(np.float32)

    def nine_channels(sample: Array, timestep: float, context: Array) -> Array:
        repeated = np.tile(extra, (len(sample) // len(extra), 1, 1, 1))
        return predict(np.concatenate([sample, repeated], axis=1), timestep, context)

    return nine_channels


class Guidance(NamedTuple):
    """How far beyond the prompt to go, and in which model calls of the run, counted from 0."""

    scale: float
    calls: range
    rescale: float = 0.0


def guided_calls(interval: tuple[float, float], calls: int, calls_per_step: int = 1) -> range:
    """The model calls, of `calls` in a run, whose step lies inside `interval`, two fractions of the run.

    Step s of the n steps that are run (strength below 1 runs fewer) is inside where int(first n) <= s < int(last n),
    as diffusers' guiders have it. The calls of one step are inside or outside together.
    """
    steps = -(-calls // calls_per_step)
    first, last = (int(edge * steps) * calls_per_step for edge in interval)
    return range(first, min(last, calls))


def guided(predict: Predict, cond: Array, uncond: Array, guidance: Guidance) -> Callable[[Array, float], Array]:
    """Classifier-free guidance (Ho & Salimans 2022), both predictions in one batch; use it for one run only.

    `cond` and `uncond` are text embeddings (1, tokens, width) for all rows of x; diffusers' order, uncond first.
    In calls that are not guided (Kynkaanniemi et al. 2024, arXiv 2404.07724) the prompt's embeddings go alone.
    """
    weight = np.float32(guidance.scale)
    call = -1

    def one_or_both(x: Array, t: float) -> Array:
        nonlocal call
        call += 1
        if call not in guidance.calls:
            return predict(x, t, cond.repeat(len(x), axis=0))
        context = np.concatenate([uncond, cond]).repeat(len(x), axis=0)
        without, with_prompt = np.split(predict(np.concatenate([x, x]), t, context), 2)
        beyond = without + weight * (with_prompt - without)
        return _rescaled(beyond, with_prompt, guidance.rescale) if guidance.rescale else beyond

    return one_or_both


def _rescaled(beyond: Array, with_prompt: Array, share: float) -> Array:
    """Bring the deviation of each row of `beyond` towards that of the prompt's own prediction.

    Lin et al. 2023 (arXiv 2305.08891), equations (15) and (16); `share` is their phi.
    """
    # Row by row, so that a sum does not depend on how many rows there are.
    ratios = [np.std(to, ddof=1) / np.std(row, ddof=1) for to, row in zip(with_prompt, beyond, strict=True)]
    rescaled = beyond * np.array(ratios, np.float32)[:, None, None, None]
    return np.float32(share) * rescaled + np.float32(1 - share) * beyond


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
