"""What diffusers goes through, step by step: its pipeline on the tiny models, its schedulers alone on the toy model.

Every x is taken after the inpaint pipeline's blending, which is where the runtime hands it out: the known region is
already at the level of the next call. Both sides count UNet calls, so Heun and DPM2 give two a step.
"""

import inspect
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from outpaint_export.parity.reference import outpaint, reference_scheduler

from outpaint_engine import OutpaintRequest

from ...latent_steps import step_sums
from ...parity_cases import CONFIGS, SCHEDULERS, SD15, config_cases
from ...pure.toy_model import SHAPE, toy_mask, toy_output

GOLDENS = Path(__file__).parents[2] / "goldens"


def outpaint_steps(pipeline: Any, request: OutpaintRequest, config: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Latents after every UNet call of diffusers' inpaint pipeline, (calls, 4, h, w), and the decoded picture.

    `config` is the checkpoint's `scheduler_config.json`.
    """
    kept = []

    def keep(_: Any, index: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept.append(tensors["latents"].numpy())
        return tensors

    pipeline.scheduler = reference_scheduler(request.scheduler, config)
    _, picture = outpaint(pipeline, request, callback_on_step_end=keep)
    return np.concatenate(kept), picture


def trajectory(
    name: str, config: Mapping[str, Any], steps: int, strength: float = 1.0, eta: float = 0.0, masked: bool = True
) -> np.ndarray:
    """Every x of a run on the toy model, (calls, 4, 4), in the inpaint pipeline's order.

    `config` is the checkpoint's `scheduler_config.json`. The first row of each channel, as the toy model mixes neither
    rows nor channels.
    """
    scheduler = reference_scheduler(name, config)
    scheduler.set_timesteps(steps)
    skipped = (steps - int(steps * strength)) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    generator = torch.Generator().manual_seed(7)
    known, start = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    x = start * scheduler.init_noise_sigma if strength == 1 else scheduler.add_noise(known, start, timesteps[:1])
    taken = inspect.signature(scheduler.step).parameters
    extra = {key: value for key, value in (("eta", eta), ("generator", generator)) if key in taken}
    mask, kept = torch.from_numpy(toy_mask()), []
    for index, t in enumerate(timesteps):
        output = torch.from_numpy(toy_output(scheduler.scale_model_input(x, t).numpy(), float(t)))
        x = scheduler.step(output, t, x, **extra).prev_sample.float()
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
            name, {**SD15, "prediction_type": kind}, steps, strength, eta, masked
        )
        for name, kind, steps, strength, eta, masked in grid
        if not eta or name == "DDIM"
    }
    np.savez_compressed(GOLDENS / "trajectories.npz", **answers)


def record_configs() -> None:
    """Record, for every scheduler over every public config, two sums of each step on the toy model."""
    sums = [step_sums(trajectory(name, CONFIGS[config], steps), 2) for config, name, steps in config_cases()]
    np.savez_compressed(GOLDENS / "configs.npz", sums=np.concatenate(sums), calls=[len(each) for each in sums])
