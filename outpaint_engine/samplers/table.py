"""Every scheduler by name: one table for the request, the command line, the documentation and the tests."""

from typing import NamedTuple

from . import walks
from .ddim import ddim, ddpm
from .dpm2 import dpm2, dpm2_a
from .dpmpp import dpmpp_2m, dpmpp_2m_sde, dpmpp_2s
from .euler import euler, euler_a, heun
from .lcm import lcm
from .loop import Sampler
from .multistep import lms, pndm
from .unipc import unipc
from .walks import Plan

__all__ = ["SCHEDULERS", "Scheduler", "find_scheduler"]


class Scheduler(NamedTuple):
    """A sampler, the walk it takes, and what a user should know.

    `name` is Segmind's where it has one; `aliases` are matched as `name` is, see `find_scheduler`.
    """

    name: str
    aliases: tuple[str, ...]
    sample: Sampler
    plan: Plan
    good_for: str
    calls_per_step: int = 1
    random: bool = False
    """Draws noise in every step: more steps do not converge to one picture."""


SCHEDULERS: tuple[Scheduler, ...] = (
    Scheduler("DDIM", ("DDIMScheduler",), ddim, walks.strided_walk, "the reference: predictable at any step count"),
    Scheduler(
        "DPM Multi",
        ("DPM++ 2M", "dpmpp_2m", "DPMSolverMultistep", "DPMSolverMultistepScheduler"),
        dpmpp_2m,
        walks.dpm_walk,
        "few steps: 15 to 25 are usually enough",
    ),
    Scheduler(
        "DPM Multi Karras",
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        dpmpp_2m,
        walks.karras_dpm_walk,
        "few steps, with more of them spent on detail",
    ),
    Scheduler(
        "DPM Single",
        ("DPM++ 2S", "dpmpp_2s", "DPMSolverSinglestep", "DPMSolverSinglestepScheduler"),
        dpmpp_2s,
        walks.linear_dpm_walk,
        "few steps; steadier than DPM Multi under strong guidance",
    ),
    Scheduler(
        "Euler a",
        ("Euler ancestral", "euler_ancestral", "k_euler_a", "EulerAncestralDiscreteScheduler"),
        euler_a,
        walks.sigma_walk,
        "varied, soft pictures",
        random=True,
    ),
    Scheduler(
        "Euler", ("k_euler", "EulerDiscreteScheduler"), euler, walks.sigma_walk, "simple and fast; 25 steps and more"
    ),
    Scheduler(
        "Heun",
        ("k_heun", "HeunDiscreteScheduler"),
        heun,
        walks.trial_walk,
        "accuracy at few steps, for twice the time",
        calls_per_step=2,
    ),
    Scheduler(
        "DPM2 a Karras",
        ("k_dpm_2_a_karras",),
        dpm2_a,
        walks.midpoint_ancestral_walk,
        "varied pictures with detail, for twice the time",
        calls_per_step=2,
        random=True,
    ),
    Scheduler(
        "DPM2 Karras",
        ("k_dpm_2_karras",),
        dpm2,
        walks.midpoint_walk,
        "accuracy in fine detail, for twice the time",
        calls_per_step=2,
    ),
    Scheduler("LMS", ("k_lms", "LMSDiscreteScheduler"), lms, walks.sigma_walk, "smooth results from 30 steps"),
    Scheduler(
        "PNDM",
        ("PLMS", "PNDMScheduler"),
        pndm,
        walks.plms_walk,
        "Stable Diffusion 1.5's own default; 25 steps and more",
    ),
    Scheduler("DDPM", ("DDPMScheduler",), ddpm, walks.listed_walk, "the original; 100 steps and more", random=True),
    Scheduler(
        "UniPC",
        ("unipc_multistep", "UniPCMultistepScheduler"),
        unipc,
        walks.dpm_walk,
        "the fewest steps: 8 to 15",
    ),
    Scheduler(
        "DPM++ 2M SDE",
        ("DPM Multi SDE", "dpmpp_2m_sde"),
        dpmpp_2m_sde,
        walks.dpm_walk,
        "varied pictures with detail; 20 to 30 steps",
        random=True,
    ),
    Scheduler(
        "LCM",
        ("LCMScheduler",),
        lcm,
        walks.consistency_walk,
        "latent consistency models only: 2 to 8 steps, guidance 1 to 2",
        random=True,
    ),
)


def _key(name: str) -> str:
    return name.lower().replace(" ", "").replace("_", "").replace("-", "")


_BY_KEY = {_key(name): scheduler for scheduler in SCHEDULERS for name in (scheduler.name, *scheduler.aliases)}


def find_scheduler(name: str) -> Scheduler | None:
    """The scheduler of that name or alias; case, spaces, hyphens and underscores do not count."""
    return _BY_KEY.get(_key(name))
