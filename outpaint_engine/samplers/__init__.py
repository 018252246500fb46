"""Samplers: generator functions that walk from noise to a picture, one model call an iteration; one family a file."""

from .ddim import ddim, ddpm
from .deis import deis
from .dpm2 import dpm2, dpm2_a
from .dpmsolver import dpm_multistep, dpm_singlestep
from .euler import euler, euler_a, heun
from .lcm import lcm, tcd
from .linear import LinearStep, linear_steps
from .loop import Constrain, Denoise, Noise, Sampler, Step, Walk, unconstrained
from .multistep import lms, pndm
from .table import AUTO, SCHEDULERS, SPREADS, Scheduler, find_scheduler, scheduler_names, scheduler_of
from .unipc import unipc

__all__ = [
    "AUTO",
    "SCHEDULERS",
    "SPREADS",
    "Constrain",
    "Denoise",
    "LinearStep",
    "Noise",
    "Sampler",
    "Scheduler",
    "Step",
    "Walk",
    "ddim",
    "ddpm",
    "deis",
    "dpm2",
    "dpm2_a",
    "dpm_multistep",
    "dpm_singlestep",
    "euler",
    "euler_a",
    "find_scheduler",
    "heun",
    "lcm",
    "linear_steps",
    "lms",
    "pndm",
    "scheduler_names",
    "scheduler_of",
    "tcd",
    "unconstrained",
    "unipc",
]
