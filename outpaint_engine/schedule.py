"""The noise schedule: how much of the picture is left at each timestep, and which timesteps are visited.

Everything is read from the engine set's `scheduler_config.json` (diffusers' keys). Where a key is missing,
the value is SD1.5's, not the default of diffusers' class: the two differ, and the class defaults give a
quietly worse picture (clipping, a last step to alpha 1, no offset).

Legend (Ho et al. 2020, Song et al. 2021): alpha = alphas_cumprod[t], the share of signal variance;
x_t = sqrt(alpha) x_0 + sqrt(1 - alpha) eps; v = sqrt(alpha) eps - sqrt(1 - alpha) x_0 (Salimans & Ho 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .errors import EngineSetError
from .tensors import Array

__all__ = ["NoiseSchedule", "Prediction", "Time"]


class Time(NamedTuple):
    """One step's timestep and the next, with their alphas."""

    t: int
    alpha: float
    t_prev: int
    alpha_prev: float


class Prediction(NamedTuple):
    """What the model says of x_t: the noise in it and the picture under it."""

    noise: Array
    x0: Array


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

    def times(self, steps: int, strength: float = 1.0) -> list[Time]:
        """The steps of a run, noisiest first: the last int(steps * strength) of `steps`, at least one.

        As DDIM in diffusers: the next timestep is t - 1000 // steps, which for spacings other than leading
        is not always the next entry of the list.
        """
        count = len(self.alphas_cumprod)
        stride = count // steps
        run = max(1, min(int(steps * strength), steps))
        return [
            Time(int(t), self.alpha(int(t)), int(t) - stride, self.alpha(int(t) - stride))
            for t in self._timesteps(steps, count)[steps - run :]
        ]

    def alpha(self, t: int) -> float:
        """alphas_cumprod at t; below 0 the final alpha."""
        return float(self.alphas_cumprod[t]) if t >= 0 else self.final_alpha

    def add_noise(self, x0: Array, noise: Array, alpha: float) -> Array:
        """x_t of `x0` at `alpha`; float32."""
        return np.float32(alpha**0.5) * x0 + np.float32((1 - alpha) ** 0.5) * noise

    def read(self, output: Array, x_t: Array, alpha: float) -> Prediction:
        """Turn the model's raw output at `alpha` into noise and x_0, whatever it was trained to predict."""
        root, sigma = np.float32(alpha**0.5), np.float32((1 - alpha) ** 0.5)
        if self.prediction_type == "epsilon":
            return Prediction(output, (x_t - sigma * output) / root)
        if self.prediction_type == "v_prediction":
            return Prediction(root * output + sigma * x_t, root * x_t - sigma * output)
        return Prediction((x_t - root * output) / sigma, output)

    def _timesteps(self, steps: int, count: int) -> Array:
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
