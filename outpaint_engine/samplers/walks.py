"""Which timesteps and noise levels each family of samplers visits: functions (schedule, steps, strength) -> Walk.

They follow diffusers' `set_timesteps` and its inpaint pipeline's `get_timesteps`: of `steps` steps the last
int(steps * strength) are run (here at least one).
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import EngineSetError
from ..schedule import CLEAN, Level, NoiseSchedule, Time
from ..tensors import Array
from .loop import Walk

__all__ = [
    "Plan",
    "consistency_walk",
    "dpm_walk",
    "karras_dpm_walk",
    "linear_dpm_walk",
    "listed_walk",
    "midpoint_ancestral_walk",
    "midpoint_walk",
    "plms_walk",
    "sigma_walk",
    "strided_walk",
    "trial_walk",
]

Plan = Callable[[NoiseSchedule, int, float], Walk]
RHO = 7.0


def strided_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DDIM: a step from t goes to t - 1000 // steps, which is not the next listed one for every spacing."""
    times = _strided(schedule, schedule.timesteps(steps), steps)
    return Walk(schedule, times, _skipped(steps, strength))


def listed_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DDPM: a step from t goes to the next listed one, and from the last to the clean picture."""
    timesteps = schedule.timesteps(steps)
    levels = [*(schedule.level(int(t)) for t in timesteps), CLEAN]
    return Walk(schedule, _times(timesteps, levels), _skipped(steps, strength))


def plms_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """PNDM without Runge-Kutta: as DDIM's, with the second timestep visited twice."""
    timesteps = schedule.timesteps(steps)
    timesteps = np.insert(timesteps, 1, timesteps[1]) if steps > 1 else timesteps
    return Walk(schedule, _strided(schedule, timesteps, steps), _skipped(steps, strength))


def consistency_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """LCM: evenly chosen from the 50 timesteps of its distillation, whatever the schedule's spacing.

    Raises:
        EngineSetError: more than 50 steps.
    """
    distilled = 50
    if steps > distilled:
        raise EngineSetError(f"LCM was distilled to {distilled} timesteps; {steps} steps were asked for.")
    origin = np.arange(distilled, 0, -1) * (len(schedule.alphas_cumprod) // distilled) - 1
    timesteps = origin[np.linspace(0, distilled, steps, endpoint=False).astype(int)]
    levels = [*(schedule.level(int(t)) for t in timesteps), CLEAN]
    return Walk(schedule, _times(timesteps, levels), _skipped(steps, strength))


def sigma_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """Euler, Euler a, LMS: x_0 + sigma eps at the listed timesteps."""
    timesteps, sigmas = _sigmas(schedule, steps)
    return _karras_walk(schedule, _times(timesteps, _exploding(sigmas)), _skipped(steps, strength))


def trial_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """Heun: between two steps the model is also asked about the trial point, at the later one's level."""
    timesteps, sigmas = _sigmas(schedule, steps)
    times = _times(timesteps, _exploding(sigmas))
    doubled = [time for this, after in zip(times, times[1:], strict=False) for time in (this, after)]
    return _karras_walk(schedule, (*doubled, times[-1]), 2 * _skipped(steps, strength))


def midpoint_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM2 Karras: midpoints in log sigma between Karras' sigmas."""
    return _with_midpoints(schedule, steps, strength, lambda sigmas: sigmas[1:-1])


def midpoint_ancestral_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM2 a Karras: midpoints between a sigma and the one that an ancestral step goes down to."""

    def down(sigmas: Array) -> Array:
        here, after = sigmas[:-2], sigmas[1:-1]
        return after**2 / here

    return _with_midpoints(schedule, steps, strength, down)


def dpm_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM++ 2M, UniPC: x of variance 1; the spacing is made for one step more, whose last is left out."""
    count = len(schedule.alphas_cumprod)
    if schedule.timestep_spacing == "linspace":
        return linear_dpm_walk(schedule, steps, strength)
    if schedule.timestep_spacing == "leading":
        timesteps = np.arange(steps, 0, -1) * (count // (steps + 1)) + schedule.steps_offset
    else:
        timesteps = schedule.timesteps(steps)
    return _dpm(schedule, np.minimum(timesteps, count - 1), strength)


def linear_dpm_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM++ 2S: always evenly spaced, whatever the schedule says."""
    timesteps = np.linspace(0, len(schedule.alphas_cumprod) - 1, steps + 1).round()[:0:-1].astype(int)
    return _dpm(schedule, timesteps, strength)


def karras_dpm_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM++ 2M Karras: Karras' sigmas over the whole schedule, timesteps rounded."""
    sigmas = _karras(schedule.sigmas[-1], schedule.sigmas[0], steps)
    timesteps = schedule.time_of(sigmas).round()
    return Walk(schedule, _times(timesteps, _preserving(_closed(sigmas))), _skipped(steps, strength))


def _dpm(schedule: NoiseSchedule, timesteps: Array, strength: float) -> Walk:
    levels = _preserving(_closed(schedule.sigma_at(timesteps)))
    return Walk(schedule, _times(timesteps, levels), _skipped(len(timesteps), strength))


def _with_midpoints(schedule: NoiseSchedule, steps: int, strength: float, reached: Callable[[Array], Array]) -> Walk:
    """Pairs of calls: at a listed sigma (whose `next` is the midpoint) and at the midpoint; the last has no pair."""
    _, sigmas = _sigmas(schedule, steps)
    sigmas = _closed(_karras(sigmas[0], sigmas[-2], steps))
    midpoints = np.sqrt(sigmas[:-2] * reached(sigmas))
    timesteps, between = schedule.time_of(sigmas[:-1]).round(), schedule.time_of(midpoints)
    levels, halfway = _exploding(sigmas), _exploding(midpoints)
    times = []
    for n, middle in enumerate(halfway):
        times += [Time(float(timesteps[n]), levels[n], middle), Time(float(between[n]), middle, levels[n + 1])]
    times.append(Time(float(timesteps[-1]), levels[-2], CLEAN))
    return _karras_walk(schedule, tuple(times), 2 * _skipped(steps, strength))


def _karras_walk(schedule: NoiseSchedule, times: tuple[Time, ...], start: int) -> Walk:
    """Leading spacing starts from the deviation of x at the largest sigma; the others from that sigma itself."""
    largest = times[0].level
    return Walk(schedule, times, start, largest.scale if schedule.timestep_spacing == "leading" else largest.noise)


def _sigmas(schedule: NoiseSchedule, steps: int) -> tuple[Array, Array]:
    """Timesteps, and their sigmas followed by 0."""
    if schedule.timestep_spacing == "linspace":
        timesteps = np.linspace(0, len(schedule.alphas_cumprod) - 1, steps)[::-1].astype(np.float32)
    else:
        timesteps = schedule.timesteps(steps)
    return timesteps, _closed(schedule.sigma_at(timesteps))


def _karras(largest: float, smallest: float, steps: int) -> Array:
    """Equation (5) of Karras et al. 2022 (arXiv 2206.00364), with rho = 7."""
    ends = largest ** (1 / RHO), smallest ** (1 / RHO)
    return np.linspace(*ends, steps) ** RHO


def _closed(sigmas: Array) -> Array:
    if not (np.diff(sigmas) < 0).all():
        raise EngineSetError(f"{len(sigmas)} steps are too many for this scheduler: two would be at the same noise.")
    return np.append(sigmas, 0.0)


def _exploding(sigmas: Array) -> list[Level]:
    return [Level(1.0, float(sigma)) for sigma in sigmas]


def _preserving(sigmas: Array) -> list[Level]:
    return [Level.of_alpha(1 / (1 + float(sigma) ** 2)) for sigma in sigmas]


def _times(timesteps: Array, levels: Sequence[Level]) -> tuple[Time, ...]:
    return tuple(Time(float(t), levels[n], levels[n + 1]) for n, t in enumerate(timesteps))


def _strided(schedule: NoiseSchedule, timesteps: Array, steps: int) -> tuple[Time, ...]:
    stride = len(schedule.alphas_cumprod) // steps
    return tuple(Time(float(t), schedule.level(int(t)), schedule.level(int(t) - stride)) for t in timesteps)


def _skipped(steps: int, strength: float) -> int:
    return steps - max(1, min(int(steps * strength), steps))
