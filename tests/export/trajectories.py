"""Records what diffusers' schedulers do with the toy model: tests/goldens/trajectories.npz.

    python -m tests.export.trajectories        (LMS needs scipy)

Every x that `scheduler.step` returns is kept, after the inpaint pipeline's blending: the first row of each
channel, as the toy model mixes neither rows nor channels.
"""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from outpaint_export.reference import SCHEDULERS, reference_scheduler

from ..pure.toy_model import SHAPE, toy_mask, toy_output

GOLDENS = Path(__file__).parents[1] / "goldens"
DRAWING = ("DDIMScheduler", "DDPMScheduler", "LCMScheduler")


@cache
def made(name: str, config: tuple[tuple[str, Any], ...]) -> diffusers.SchedulerMixin:
    """diffusers' scheduler over SD1.5's config and `config`; `set_timesteps` makes it as new."""
    return reference_scheduler(name, dict(config))


def trajectory(name: str, config: dict[str, Any], steps: int, strength: float, eta: float, masked: bool) -> np.ndarray:
    """Every x of a run, (calls, 4, 4), in the inpaint pipeline's order."""
    kind, own = SCHEDULERS[name]
    scheduler = made(name, tuple(config.items()))
    scheduler.set_timesteps(steps)
    skipped = (steps - int(steps * strength)) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    generator = torch.Generator().manual_seed(7)
    known, start = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    x = start * scheduler.init_noise_sigma if strength == 1 else scheduler.add_noise(known, start, timesteps[:1])
    extra = {"eta": eta} if kind == "DDIMScheduler" else {}
    if kind in DRAWING or "Ancestral" in kind or "algorithm_type" in own:
        extra["generator"] = generator
    mask, kept = torch.from_numpy(toy_mask()), []
    for index, t in enumerate(timesteps):
        output = torch.from_numpy(toy_output(scheduler.scale_model_input(x, t).numpy(), float(t)))
        x = scheduler.step(output, t, x, **extra).prev_sample
        if masked:
            following = timesteps[index + 1 : index + 2]
            held = scheduler.add_noise(known, start, following) if len(following) else known
            x = (1 - mask) * held + mask * x
        kept.append(x.numpy()[0, :, 0])
    return np.stack(kept)


def record() -> None:
    """Record every scheduler; `name|config|steps|strength|eta|masked` is a trajectory's key."""
    grid = product(SCHEDULERS, ("epsilon", "v_prediction"), (10, 25, 50), (0.3, 0.75, 1.0), (0.0, 1.0), (False, True))
    answers = {
        f"{name}|{kind}|{steps}|{strength}|{eta}|{'masked' if masked else 'free'}": trajectory(
            name, {"prediction_type": kind}, steps, strength, eta, masked
        )
        for name, kind, steps, strength, eta, masked in grid
        if not eta or name == "DDIM"
    }
    np.savez_compressed(GOLDENS / "trajectories.npz", **answers)


if __name__ == "__main__":
    record()
