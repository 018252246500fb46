"""The noise schedule: how much of the picture is left at each timestep, and which timesteps are visited.

Everything is read from the engine set's `scheduler_config.json` (diffusers' keys). Where a key is missing,
the value is SD1.5's, not the default of diffusers' class: the two differ, and the class defaults give a
quietly worse picture (clipping, a last step to alpha 1, no offset).

Legend (Ho et al. 2020, Song et al. 2021): alpha = alphas_cumprod[t], the share of signal variance;
x_t = sqrt(alpha) x_0 + sqrt(1 - alpha) eps; v = sqrt(alpha) eps - sqrt(1 - alpha) x_0 (Salimans & Ho 2022).
Karras et al. 2022 divide x_t by sqrt(alpha): x_0 + sigma eps, with sigma = sqrt((1 - alpha) / alpha).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .errors import EngineSetError
from .tensors import Array

__all__ = ["CLEAN", "Level", "NoiseSchedule", "Prediction", "Time"]


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
    """`alphas_cumprod` (float64, one per training timestep) and the rules around it."""

    alphas_cumprod: Array
    final_alpha: float
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: int = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        """Read diffusers' `scheduler_config.json`.

        Raises:
            EngineSetError: the config asks for something that this runtime does not do.
        """
        try:
            return cls._read(config)
        except (TypeError, ValueError) as error:
            raise EngineSetError(f"scheduler_config.json has a value of the wrong kind: {error}.") from error

    @classmethod
    def _read(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        for key in ("clip_sample", "thresholding"):
            if config.get(key, False):
                raise EngineSetError(f"scheduler_config.json sets {key}; set it to false, as SD1.5 has it.")
        alphas_cumprod = np.cumprod(1 - _betas(config))
        if config.get("rescale_betas_zero_snr", False):
            alphas_cumprod = _zero_terminal_snr(alphas_cumprod)
        prediction_type = str(config.get("prediction_type", "epsilon"))
        spacing = str(config.get("timestep_spacing", "leading"))
        _known("prediction_type", prediction_type, ("epsilon", "v_prediction", "sample"))
        _known("timestep_spacing", spacing, ("leading", "trailing", "linspace"))
        if prediction_type == "epsilon" and alphas_cumprod[-1] == 0:
            raise EngineSetError("scheduler_config.json ends in pure noise, where epsilon says nothing of the picture.")
        final_alpha = 1.0 if config.get("set_alpha_to_one", False) else float(alphas_cumprod[0])
        return cls(alphas_cumprod, final_alpha, prediction_type, spacing, int(config.get("steps_offset", 1)))

    def level(self, t: int) -> Level:
        """The level of x_t at a whole timestep; below 0 that of the final alpha."""
        return Level.of_alpha(float(self.alphas_cumprod[t]) if t >= 0 else self.final_alpha)

    @cached_property
    def sigmas(self) -> Array:
        """Noise over signal at every training timestep, ascending; where the signal is 0, as if alpha were 2^-24."""
        alphas = np.maximum(self.alphas_cumprod, 2.0**-24)
        return np.sqrt((1 - alphas) / alphas)

    def sigma_at(self, t: Array) -> Array:
        """Sigma at timesteps that need not be whole, linear in t."""
        return np.interp(t, np.arange(len(self.sigmas)), self.sigmas)

    def time_of(self, sigma: Array) -> Array:
        """The timestep of a sigma, linear in log sigma between timesteps and clipped to their range."""
        logs = np.log(self.sigmas)
        return np.interp(np.log(np.maximum(sigma, 1e-10)), logs, np.arange(len(logs)))

    def read(self, output: Array, x: Array, level: Level) -> Prediction:
        """Turn the model's raw output for `x` into noise and x_0, whatever it was trained to predict."""
        signal, sigma, scale = np.float32(level.signal), np.float32(level.noise), level.scale
        if self.prediction_type == "epsilon":
            x0 = x - sigma * output
            return Prediction(output, x0 if signal == 1 else x0 / signal, output)
        if self.prediction_type == "v_prediction":
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
        if self.timestep_spacing == "leading":
            times = np.arange(steps)[::-1] * (count // steps) + self.steps_offset
        elif self.timestep_spacing == "trailing":
            # arange's step is not exact and can give one entry too many.
            times = np.round(np.arange(count, 0, -count / steps))[:steps].astype(int) - 1
        else:
            times = np.linspace(0, count - 1, steps).round()[::-1].astype(int)
        return np.minimum(times, count - 1)


def _known(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise EngineSetError(f"scheduler_config.json says {key} {value!r}; this runtime knows {', '.join(allowed)}.")


def _betas(config: Mapping[str, Any]) -> Array:
    count = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
    kind = str(config.get("beta_schedule", "scaled_linear"))
    _known("beta_schedule", kind, ("scaled_linear", "linear"))
    if config.get("trained_betas") is not None:
        return np.asarray(config["trained_betas"], np.float64)
    if kind == "linear":
        return np.linspace(start, end, count)
    return np.linspace(start**0.5, end**0.5, count) ** 2


def _zero_terminal_snr(alphas_cumprod: Array) -> Array:
    """Shift and stretch sqrt(alpha) so that the last is 0 and the first unchanged (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(alphas_cumprod)
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
