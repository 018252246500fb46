"""Every scheduler by name: one table for the request, the command line, the documentation and the tests."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..schedule import KINDS, NoiseSchedule, Settings, own_settings, settings_of
from . import walks
from .ddim import ddim, ddpm
from .deis import deis
from .dpm2 import dpm2, dpm2_a
from .dpmsolver import dpm_multistep, dpm_singlestep
from .euler import euler, euler_a, heun
from .lcm import lcm, tcd
from .loop import Sampler
from .multistep import lms, pndm
from .unipc import unipc
from .walks import Plan

__all__ = ["AUTO", "SCHEDULERS", "SPREADS", "Scheduler", "find_scheduler", "scheduler_names", "scheduler_of"]

AUTO = "auto"
"""The name of the checkpoint's own scheduler, which only its config tells."""
SPREADS = {"Karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}
"""What may follow the name of a scheduler with `spreads`, and the key that it sets."""


class Scheduler(NamedTuple):
    """A sampler, the walk it takes, and what a user should know.

    `name` is Segmind's where it has one; `aliases` are matched as `name` is, see `find_scheduler`. `kind` is diffusers'
    class, which says how a config is read, and `own` are keys that the name itself sets.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    sample: Sampler
    plan: Plan
    good_for: str
    calls_per_step: int = 1
    random: bool = False
    """Draws noise in every step: more steps do not converge to one picture."""
    own: Mapping[str, Any] = {}  # noqa: RUF012 - never written to

    @property
    def spreads(self) -> bool:
        """Whether the name can be followed by one of `SPREADS`."""
        return "use_karras_sigmas" in KINDS[self.kind].keys

    @property
    def takes_eta(self) -> bool:
        """Whether its randomness can be set; `sample` takes `eta`, 0 to 1."""
        return self.kind in ("DDIMScheduler", "TCDScheduler")

    def schedule(self, config: Mapping[str, Any]) -> NoiseSchedule:
        """The noise schedule over a checkpoint's `scheduler_config.json`.

        Raises:
            EngineSetError: the config asks this scheduler for something that is not done here.
        """
        return NoiseSchedule(settings_of(self.kind, config, self.own))


SCHEDULERS: tuple[Scheduler, ...] = (
    Scheduler(
        "DDIM",
        ("DDIMScheduler",),
        "DDIMScheduler",
        ddim,
        walks.strided_walk,
        "the reference: predictable at any step count",
    ),
    Scheduler(
        "DPM Multi",
        ("DPM++ 2M", "dpmpp_2m", "DPMSolverMultistep", "DPMSolverMultistepScheduler"),
        "DPMSolverMultistepScheduler",
        dpm_multistep,
        walks.dpm_walk,
        "few steps: 15 to 25 are usually enough",
    ),
    Scheduler(
        "DPM Single",
        ("DPM++ 2S", "dpmpp_2s", "DPMSolverSinglestep", "DPMSolverSinglestepScheduler"),
        "DPMSolverSinglestepScheduler",
        dpm_singlestep,
        walks.dpm_walk,
        "few steps; steadier than DPM Multi under strong guidance",
    ),
    Scheduler(
        "Euler a",
        ("Euler ancestral", "euler_ancestral", "k_euler_a", "EulerAncestralDiscreteScheduler"),
        "EulerAncestralDiscreteScheduler",
        euler_a,
        walks.sigma_walk,
        "varied, soft pictures",
        random=True,
    ),
    Scheduler(
        "Euler",
        ("k_euler", "EulerDiscreteScheduler"),
        "EulerDiscreteScheduler",
        euler,
        walks.sigma_walk,
        "simple and fast; 25 steps and more",
    ),
    Scheduler(
        "Heun",
        ("k_heun", "HeunDiscreteScheduler"),
        "HeunDiscreteScheduler",
        heun,
        walks.trial_walk,
        "accuracy at few steps, for twice the time",
        calls_per_step=2,
    ),
    Scheduler(
        "DPM2 a",
        ("DPM2 ancestral", "k_dpm_2_a", "KDPM2AncestralDiscreteScheduler"),
        "KDPM2AncestralDiscreteScheduler",
        dpm2_a,
        walks.midpoint_walk,
        "varied pictures with detail, for twice the time; best with Karras",
        calls_per_step=2,
        random=True,
    ),
    Scheduler(
        "DPM2",
        ("k_dpm_2", "KDPM2DiscreteScheduler"),
        "KDPM2DiscreteScheduler",
        dpm2,
        walks.midpoint_walk,
        "accuracy in fine detail, for twice the time; best with Karras",
        calls_per_step=2,
    ),
    Scheduler(
        "LMS",
        ("k_lms", "LMSDiscreteScheduler"),
        "LMSDiscreteScheduler",
        lms,
        walks.sigma_walk,
        "smooth results from 30 steps",
    ),
    Scheduler(
        "PNDM",
        ("PLMS", "PNDMScheduler"),
        "PNDMScheduler",
        pndm,
        walks.plms_walk,
        "Stable Diffusion 1.5's own default; 25 steps and more",
    ),
    Scheduler(
        "DDPM",
        ("DDPMScheduler",),
        "DDPMScheduler",
        ddpm,
        walks.listed_walk,
        "the original; 100 steps and more",
        random=True,
    ),
    Scheduler(
        "UniPC",
        ("unipc_multistep", "UniPCMultistepScheduler"),
        "UniPCMultistepScheduler",
        unipc,
        walks.dpm_walk,
        "the fewest steps: 8 to 15",
    ),
    Scheduler(
        "DPM++ 2M SDE",
        ("DPM Multi SDE", "dpmpp_2m_sde"),
        "DPMSolverMultistepScheduler",
        dpm_multistep,
        walks.dpm_walk,
        "varied pictures with detail; 20 to 30 steps",
        random=True,
        own={"algorithm_type": "sde-dpmsolver++"},
    ),
    Scheduler(
        "DEIS",
        ("DEISMultistep", "DEISMultistepScheduler"),
        "DEISMultistepScheduler",
        deis,
        walks.dpm_walk,
        "few steps: 10 to 20",
    ),
    Scheduler(
        "LCM",
        ("LCMScheduler",),
        "LCMScheduler",
        lcm,
        walks.consistency_walk,
        "latent consistency models or an LCM-LoRA only: 2 to 8 steps, guidance 1 to 2",
        random=True,
    ),
    Scheduler(
        "TCD",
        ("TCDScheduler",),
        "TCDScheduler",
        tcd,
        walks.consistency_walk,
        "models or LoRAs distilled for TCD or Hyper-SD only: 4 to 8 steps, guidance 1; eta adds detail",
    ),
)


def _key(name: str) -> str:
    return name.lower().replace(" ", "").replace("_", "").replace("-", "")


_BY_KEY = {_key(name): scheduler for scheduler in SCHEDULERS for name in (scheduler.name, *scheduler.aliases)}


def find_scheduler(name: str) -> Scheduler | None:
    """The scheduler of that name or alias; case, spaces, hyphens and underscores do not count.

    One with `spreads` is also found with a word of `SPREADS` behind its name: "Euler Karras".
    """
    key = _key(name)
    if key in _BY_KEY:
        return _BY_KEY[key]
    for word, option in SPREADS.items():
        plain = _BY_KEY.get(key.removesuffix(_key(word)))
        if plain and plain.spreads:
            return plain._replace(name=f"{plain.name} {word}", aliases=(), own={**plain.own, option: True})
    return None


def scheduler_names() -> tuple[str, ...]:
    """Every name that `find_scheduler` knows, without aliases."""
    return tuple(
        f"{scheduler.name} {word}".strip()
        for scheduler in SCHEDULERS
        for word in ("", *(SPREADS if scheduler.spreads else ()))
    )


def scheduler_of(name: str, config: Mapping[str, Any]) -> tuple[Scheduler, Settings]:
    """The scheduler that `name` asks for over a checkpoint's config, "auto" too, and the settings it takes.

    Raises:
        EngineSetError: see `settings_of` and `own_settings`.
        KeyError: there is no scheduler of that name.
    """
    if _key(name) == AUTO:
        settings = own_settings(config)
        scheduler = next(scheduler for scheduler in SCHEDULERS if scheduler.kind == settings.kind)
    else:
        found = find_scheduler(name)
        if found is None:
            raise KeyError(name)
        scheduler, settings = found, settings_of(found.kind, config, found.own)
    draws = scheduler.random or settings.algorithm_type == "sde-dpmsolver++"
    return scheduler._replace(random=draws), settings
