"""Which timesteps and noise levels each family of samplers visits: functions (schedule, steps, strength) -> Walk.

They follow diffusers' `set_timesteps` and its inpaint pipeline's `get_timesteps`: of `steps` steps the last
int(steps * strength) are run (here at least one). What a scheduler's settings say is in `schedule.settings`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import EngineSetError
from ..schedule import CLEAN, Level, NoiseSchedule, Time
from ..tensors import Array
from .loop import Walk
from .sigmas import spread, whole_lambdas

__all__ = [
    "Plan",
    "consistency_walk",
    "dpm_walk",
    "listed_walk",
    "midpoint_walk",
    "plms_walk",
    "sigma_walk",
    "strided_walk",
    "trial_walk",
]

Plan = Callable[[NoiseSchedule, int, float], Walk]


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
    """PNDM: as DDIM's, with the second timestep visited twice, or begun by Runge and Kutta's method, see `pndm`.

    Raises:
        EngineSetError: fewer than four steps, with Runge and Kutta's.
    """
    timesteps = schedule.timesteps(steps)
    if not schedule.settings.skip_prk_steps:
        if steps < 4:
            raise EngineSetError(
                "PNDM needs 4 steps or more where scheduler_config.json does not set skip_prk_steps to true."
            )
        half = len(schedule.alphas_cumprod) // steps // 2
        pairs = (timesteps[:4].repeat(2) + np.tile([half, 0], 4))[1:]
        timesteps = np.concatenate([pairs.repeat(2)[1:-1], timesteps[3:]])
    elif steps > 1:
        timesteps = np.insert(timesteps, 1, timesteps[1])
    return Walk(schedule, _strided(schedule, timesteps, steps), _skipped(steps, strength))


def consistency_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """LCM and TCD: evenly chosen from the timesteps of the distillation, whatever the schedule's spacing.

    Raises:
        EngineSetError: more steps than those.
    """
    distilled, count = schedule.settings.original_inference_steps, len(schedule.alphas_cumprod)
    if distilled > count:
        raise EngineSetError(f"original_inference_steps {distilled} in scheduler_config.json is over {count}.")
    if steps > distilled:
        raise EngineSetError(
            f"The model was distilled to {distilled} timesteps (original_inference_steps); {steps} were asked for."
        )
    origin = np.arange(distilled, 0, -1) * (count // distilled) - 1
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
    """DPM2: pairs of calls at a listed sigma (whose `next` is the midpoint) and at the midpoint; the last has no pair.

    Midpoints are in log sigma, to the next sigma or, in DPM2 a, to the one that an ancestral step goes down to.
    """
    timesteps, sigmas = _sigmas(schedule, steps)
    reached = sigmas[1:-1]
    if schedule.settings.kind == "KDPM2AncestralDiscreteScheduler":
        reached = reached**2 / sigmas[:-2]
    midpoints = np.sqrt(sigmas[:-2] * reached)
    between, levels, halfway = schedule.time_of(midpoints), _exploding(sigmas), _exploding(midpoints)
    times = []
    for n, middle in enumerate(halfway):
        times += [Time(float(timesteps[n]), levels[n], middle), Time(float(between[n]), middle, levels[n + 1])]
    times.append(Time(float(timesteps[-1]), levels[-2], CLEAN))
    return _karras_walk(schedule, tuple(times), 2 * _skipped(steps, strength))


def dpm_walk(schedule: NoiseSchedule, steps: int, strength: float) -> Walk:
    """DPM Multi and Single, UniPC, DEIS: x of variance 1; the spacing is one step finer, and its last is left out."""
    s, whole = schedule.settings, schedule.sigmas
    sigmas = whole_lambdas(schedule, steps) if s.use_lu_lambdas and not s.use_karras_sigmas else None
    if sigmas is None:
        sigmas = spread(s, whole[-1], whole[0], steps)
    last = whole[0]
    if sigmas is None:
        timesteps = _dpm_timesteps(schedule, steps)
        sigmas = schedule.sigma_at(timesteps)
    else:
        timesteps = schedule.time_of(sigmas)
        if s.use_karras_sigmas or s.use_lu_lambdas:
            cosine = s.kind == "DPMSolverMultistepScheduler" and s.beta_schedule == "squaredcos_cap_v2"
            timesteps = timesteps if cosine else timesteps.round()
        if s.kind in ("UniPCMultistepScheduler", "DEISMultistepScheduler"):
            last = sigmas[-1]
    ends_clean = s.final_sigmas_type == "zero" and s.kind != "DEISMultistepScheduler"
    levels = _preserving(_followed_by(0.0 if ends_clean else last, sigmas))
    # diffusers keeps whole timesteps, cut off rather than rounded.
    return Walk(schedule, _times(np.trunc(timesteps), levels), _skipped(steps, strength))


def _dpm_timesteps(schedule: NoiseSchedule, steps: int) -> Array:
    s, count = schedule.settings, len(schedule.alphas_cumprod)
    # lambda_min_clipped leaves out the noisiest timesteps.
    top = count - int(np.searchsorted(-np.log(schedule.sigmas[::-1]), s.lambda_min_clipped))
    if s.timestep_spacing == "linspace":
        return np.linspace(0, top - 1, steps + 1).round()[:0:-1].astype(int)
    if s.timestep_spacing == "leading":
        return np.minimum(np.arange(steps, 0, -1) * (top // (steps + 1)) + s.steps_offset, count - 1)
    # arange's step is not exact and can give one entry too many.
    return np.arange(top, 0, -count / steps).round()[:steps].astype(int) - 1


def _karras_walk(schedule: NoiseSchedule, times: tuple[Time, ...], start: int) -> Walk:
    """Leading spacing starts from the deviation of x at the largest sigma; the others from that sigma itself."""
    largest = times[0].level
    leading = schedule.settings.timestep_spacing == "leading"
    return Walk(schedule, times, start, largest.scale if leading else largest.noise)


def _sigmas(schedule: NoiseSchedule, steps: int) -> tuple[Array, Array]:
    """Timesteps, and their sigmas followed by the last level's."""
    s, whole = schedule.settings, schedule.sigmas
    timesteps: Array
    if s.timestep_spacing == "linspace":
        timesteps = np.linspace(0, len(whole) - 1, steps)[::-1].astype(np.float32)
    else:
        timesteps = schedule.timesteps(steps)
    sigmas = schedule.sigma_at(timesteps)
    if s.interpolation_type == "log_linear":
        # One sigma more than timesteps, and the last step goes to it.
        sigmas = np.exp(np.linspace(math.log(whole[-1]), math.log(whole[0]), steps + 1))
    between = spread(s, sigmas[0], sigmas[-1], steps)
    if between is not None:
        sigmas, timesteps = between, schedule.time_of(between)
        if s.use_karras_sigmas and s.kind.startswith("KDPM2"):
            timesteps = timesteps.round()
    if s.timestep_type == "continuous" and s.prediction_type == "v_prediction":
        timesteps = 0.25 * np.log(sigmas[:steps])
    return timesteps, _followed_by(0.0 if s.final_sigmas_type == "zero" else whole[0], sigmas)[: steps + 1]


def _followed_by(last: float, sigmas: Array) -> Array:
    if not (np.diff(sigmas) < 0).all():
        raise EngineSetError(f"{len(sigmas)} steps are too many for this scheduler: two would be at the same noise.")
    return np.append(sigmas, last)


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
