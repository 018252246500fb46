"""What diffusers goes through, step by step: its pipeline on the tiny models, its schedulers alone on the toy model.

Every x is taken after the inpaint pipeline's blending, which is where the runtime hands it out: the known region is
already at the level of the next call. Both sides count UNet calls, so Heun and DPM2 give two a step.
"""

from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from outpaint_export.parity.reference import SCHEDULERS, outpaint, reference_scheduler

from outpaint_engine import OutpaintRequest

from ..pure.toy_model import SHAPE, toy_mask, toy_output

GOLDENS = Path(__file__).parents[1] / "goldens"
DRAWING = ("DDIMScheduler", "DDPMScheduler", "LCMScheduler")


def outpaint_steps(
    pipeline: Any, request: OutpaintRequest, schedule: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Latents after every UNet call of diffusers' inpaint pipeline, (calls, 4, h, w), and the decoded picture.

    `schedule` is what the scheduler's config gets beyond Stable Diffusion 1.5's.
    """
    kept = []

    def keep(_: Any, index: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept.append(tensors["latents"].numpy())
        return tensors

    pipeline.scheduler = reference_scheduler(request.scheduler, schedule)
    _, picture = outpaint(pipeline, request, callback_on_step_end=keep)
    return np.concatenate(kept), picture


@cache
def made(name: str, config: tuple[tuple[str, Any], ...]) -> diffusers.SchedulerMixin:
    """diffusers' scheduler over SD1.5's config and `config`; `set_timesteps` makes it as new."""
    return reference_scheduler(name, dict(config))


def trajectory(name: str, config: dict[str, Any], steps: int, strength: float, eta: float, masked: bool) -> np.ndarray:
    """Every x of a run on the toy model, (calls, 4, 4), in the inpaint pipeline's order.

    The first row of each channel, as the toy model mixes neither rows nor channels.
    """
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


def record_trajectories() -> None:
    """Record every scheduler on the toy model; `name|config|steps|strength|eta|masked` is a trajectory's key."""
    grid = product(SCHEDULERS, ("epsilon", "v_prediction"), (10, 25, 50), (0.3, 0.75, 1.0), (0.0, 1.0), (False, True))
    answers = {
        f"{name}|{kind}|{steps}|{strength}|{eta}|{'masked' if masked else 'free'}": trajectory(
            name, {"prediction_type": kind}, steps, strength, eta, masked
        )
        for name, kind, steps, strength, eta, masked in grid
        if not eta or name == "DDIM"
    }
    np.savez_compressed(GOLDENS / "trajectories.npz", **answers)
