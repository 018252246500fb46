"""Samplers: generator functions that walk from noise to a picture, one model call an iteration; one family a file."""

from .ddim import ddim, ddpm
from .dpm2 import dpm2, dpm2_a
from .dpmpp import dpmpp_2m, dpmpp_2m_sde, dpmpp_2s
from .euler import euler, euler_a, heun
from .lcm import lcm
from .loop import Constrain, Denoise, Noise, Sampler, Step, Walk, unconstrained
from .multistep import lms, pndm
from .table import SCHEDULERS, Scheduler, find_scheduler
from .unipc import unipc

__all__ = [
    "SCHEDULERS",
    "Constrain",
    "Denoise",
    "Noise",
    "Sampler",
    "Scheduler",
    "Step",
    "Walk",
    "ddim",
    "ddpm",
    "dpm2",
    "dpm2_a",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s",
    "euler",
    "euler_a",
    "find_scheduler",
    "heun",
    "lcm",
    "lms",
    "pndm",
    "unconstrained",
    "unipc",
]
