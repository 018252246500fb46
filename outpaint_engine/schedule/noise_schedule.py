"""The noise schedule: how much of the picture is left at each timestep, and which timesteps are visited.

Legend (Ho et al. 2020, Song et al. 2021): alpha = alphas_cumprod[t], the share of signal variance;
x_t = sqrt(alpha) x_0 + sqrt(1 - alpha) eps; v = sqrt(alpha) eps - sqrt(1 - alpha) x_0 (Salimans & Ho 2022).
Karras et al. 2022 divide x_t by sqrt(alpha): x_0 + sigma eps, with sigma = sqrt((1 - alpha) / alpha).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..errors import EngineSetError
from ..tensors import Array
from .configuration import Settings

__all__ = ["CLEAN", "Level", "NoiseSchedule", "Prediction", "Time"]

FROM_LIMITED_X0 = (
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
)
"""Classes that take the noise from x_0 after clipping; the others from the model's output as it is."""


DIVIDING = ("DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler")
"""Classes that divide by the signal itself; the others take one of 2^-12 for 0."""


class Level(NamedTuple):
    """How noisy an x is: x = signal x_0 + noise eps."""

    signal: float
    noise: float

    @classmethod
    def of_alpha(cls, alpha: float) -> "Level":
        """The level of x_t with variance 1, as the model was trained on it."""
        return cls(math.sqrt(alpha), math.sqrt(1 - alpha))

    @property
    def scale(self) -> float:
        """What the model's input has to be divided by: 1 for x_t of variance 1."""
        return math.hypot(self.signal, self.noise)

    @property
    def divisor(self) -> float:
        """The scale, where it is more than rounding away from 1."""
        return 1.0 if abs(self.scale - 1) < 1e-9 else self.scale

    @property
    def sigma(self) -> float:
        """Noise over signal, whatever the scale."""
        return self.noise / self.signal

    def mix(self, x0: Array, noise: Array) -> Array:
        """The x of this level with `x0` and `noise` in it; float32."""
        return np.float32(self.signal) * x0 + np.float32(self.noise) * noise


CLEAN = Level(1.0, 0.0)


class Time(NamedTuple):
    """One model call: the timestep it is told, the level of x then, and the level that a step from here reaches."""

    t: float
    level: Level
    next: Level


class Prediction(NamedTuple):
    """What the model says of x: the noise in it and the picture under it, and the raw output they were read from."""

    noise: Array
    x0: Array
    output: Array


@dataclass(frozen=True)
class NoiseSchedule:
    """What follows from a scheduler's resolved settings.

    Raises:
        EngineSetError: the settings say nothing of the picture at the noisiest timestep.
    """

    settings: Settings

    def __post_init__(self) -> None:
        """Refuse to divide by a signal of 0."""
        s = self.settings
        if s.rescale_betas_zero_snr and s.prediction_type == "epsilon" and s.kind in DIVIDING:
            raise EngineSetError(
                "scheduler_config.json sets rescale_betas_zero_snr, so that the first timestep is pure noise, where "
                "prediction_type 'epsilon' says nothing of the picture."
            )

    @cached_property
    def alphas_cumprod(self) -> Array:
        """float64, one per training timestep; every value is a float32, computed as diffusers does.

        Truncated timesteps make the last digit count.
        """
        betas = _betas(self.settings)
        if self.settings.rescale_betas_zero_snr:
            betas = _zero_terminal_snr(betas)
        return _cumulated(betas).astype(np.float64)

    @property
    def final_alpha(self) -> float:
        """Alpha of the clean picture, where the class asks for it."""
        return 1.0 if self.settings.set_alpha_to_one else float(self.alphas_cumprod[0])

    def level(self, t: int) -> Level:
        """The level of x_t at a whole timestep; below 0 that of the final alpha."""
        return Level.of_alpha(float(self.alphas_cumprod[t]) if t >= 0 else self.final_alpha)

    @cached_property
    def sigmas(self) -> Array:
        """Noise over signal at every training timestep, ascending; where the signal is 0, as if alpha were 2^-24."""
        alphas = np.where(self.alphas_cumprod == 0, 2.0**-24, self.alphas_cumprod).astype(np.float32)
        return np.sqrt((1 - alphas) / alphas).astype(np.float64)

    def sigma_at(self, t: Array) -> Array:
        """Sigma at timesteps that need not be whole, linear in t."""
        return np.interp(t, np.arange(len(self.sigmas)), self.sigmas)

    def time_of(self, sigma: Array) -> Array:
        """The timestep of a sigma, linear in log sigma between timesteps and clipped to their range."""
        logs = np.log(np.maximum(self.sigmas, 1e-10).astype(np.float32))
        return np.interp(np.log(np.maximum(sigma, 1e-10)), logs, np.arange(len(logs)))

    def read(self, output: Array, x: Array, level: Level) -> Prediction:
        """Turn the model's raw output for `x` into noise and x_0, whatever it was trained to predict."""
        predicted, s = self._read(output, x, level), self.settings
        if not (s.clip_sample or s.thresholding):
            return predicted
        x0 = (
            _thresholded(predicted.x0, s)
            if s.thresholding
            else predicted.x0.clip(-s.clip_sample_range, s.clip_sample_range)
        )
        if s.kind not in FROM_LIMITED_X0:
            return predicted._replace(x0=x0)
        return Prediction((x - np.float32(level.signal) * x0) / np.float32(level.noise), x0, output)

    def _read(self, output: Array, x: Array, level: Level) -> Prediction:
        signal, sigma, scale = np.float32(level.signal), np.float32(level.noise), level.scale
        kind = self.settings.prediction_type
        if kind == "epsilon":
            x0 = x - sigma * output
            return Prediction(output, x0 if signal == 1 else x0 / signal, output)
        if kind == "v_prediction":
            cos, sin, x = np.float32(signal / scale), np.float32(sigma / scale), x / np.float32(scale)
            return Prediction(cos * output + sin * x, cos * x - sin * output, output)
        return Prediction((x - signal * output) / sigma, output, output)

    def timesteps(self, steps: int) -> Array:
        """The whole timesteps visited in `steps` steps, by this schedule's spacing, noisiest first.

        Raises:
            EngineSetError: more steps than the model has timesteps.
        """
        count = len(self.alphas_cumprod)
        if steps > count:
            raise EngineSetError(f"This model knows {count} timesteps; {steps} steps were asked for.")
        if self.settings.timestep_spacing == "leading":
            times = np.arange(steps)[::-1] * (count // steps) + self.settings.steps_offset
        elif self.settings.timestep_spacing == "trailing":
            # arange's step is not exact and can give one entry too many.
            times = np.round(np.arange(count, 0, -count / steps))[:steps].astype(int) - 1
        else:
            times = np.linspace(0, count - 1, steps).round()[::-1].astype(int)
        return np.minimum(times, count - 1)


def _betas(settings: Settings) -> Array:
    """Variance added at each timestep, float32."""
    count, start, end = settings.num_train_timesteps, settings.beta_start, settings.beta_end
    if settings.trained_betas is not None:
        return np.array(settings.trained_betas, np.float32)
    if settings.beta_schedule == "linear":
        return _evenly(start, end, count)
    if settings.beta_schedule == "scaled_linear":
        return _evenly(start**0.5, end**0.5, count) ** 2
    # Nichol & Dhariwal 2021 (arXiv 2102.09672), equation (17).
    bars = [math.cos((n / count + 0.008) / 1.008 * math.pi / 2) ** 2 for n in range(count + 1)]
    return np.array([min(1 - after / here, 0.999) for here, after in zip(bars, bars[1:], strict=False)], np.float32)


def _evenly(start: float, end: float, count: int) -> Array:
    """torch.linspace in float32, to the last bit: from both ends to the middle, one rounding a value."""
    low, high = np.float32(start), np.float32(end)
    step = float((high - low) / np.float32(max(1, count - 1)))
    n = np.arange(count)
    return np.where(n < count // 2, float(low) + step * n, float(high) - step * (count - 1 - n)).astype(np.float32)


def _cumulated(betas: Array) -> Array:
    return np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)


def _zero_terminal_snr(betas: Array) -> Array:
    """Shift and stretch sqrt(alpha) so that the last is 0 and the first unchanged (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(_cumulated(betas))
    bars = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
    return 1 - np.concatenate([bars[:1], bars[1:] / bars[:-1]])


def _thresholded(x0: Array, settings: Settings) -> Array:
    """Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, 2.3), row by row."""
    largest = np.quantile(np.abs(x0).reshape(len(x0), -1), settings.dynamic_thresholding_ratio, axis=1)
    s = largest.clip(1, settings.sample_max_value).astype(np.float32)[:, None, None, None]
    return x0.clip(-s, s) / s
