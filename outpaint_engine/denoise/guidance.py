"""Classifier-free guidance: in which calls, how far, and how often both predictions are computed."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..tensors import Array
from .forecast import Trend, whole_calls
from .prediction import Predict

__all__ = ["Guidance", "guidance_embedding", "guided", "guided_calls"]


class Guidance(NamedTuple):
    """How far beyond the prompt to go, and in which model calls of the run, counted from 0.

    In every `every`-th of them both predictions are computed; between, their difference is forecast.
    `kept` says of calls whose predictions are forecast which share is kept of what their difference has changed since
    the latest call that is not among them.
    """

    scale: float
    calls: range
    rescale: float = 0.0
    every: int = 1
    kept: Mapping[int, float] = MappingProxyType({})

    @property
    def both(self) -> frozenset[int]:
        """The calls with both predictions, two rows a picture."""
        return whole_calls(self.calls, self.every)

    def notes(self) -> list[str]:
        """What a person should know where some differences are forecast."""
        if self.every == 1 or not self.calls:
            return []
        return [
            f"guidance_every: both predictions were computed in {len(self.both)} of {len(self.calls)} guided calls and "
            "their difference forecast in the others, so the picture differs from an exact run's. See docs/speed.md."
        ]


def guided_calls(interval: tuple[float, float], calls: int, calls_per_step: int = 1) -> range:
    """The model calls, of `calls` in a run, whose step lies inside `interval`, two fractions of the run.

    Step s of the n steps that are run (strength below 1 runs fewer) is inside where int(first n) <= s < int(last n),
    as diffusers' guiders have it. The calls of one step are inside or outside together.
    """
    steps = -(-calls // calls_per_step)
    first, last = (int(edge * steps) * calls_per_step for edge in interval)
    return range(first, min(last, calls))


def guidance_embedding(scale: float, width: int) -> Array:
    """Sines and cosines of a guidance scale, float32 (1, width), for UNets that were distilled with guidance.

    In float32 as diffusers computes them (`get_guidance_scale_embedding` of its LatentConsistencyModelPipeline).
    """
    half = width // 2
    step = np.log(np.float32(10_000)) / np.float32(half - 1)
    angles = np.float32(1000) * np.float32(scale - 1) * np.exp(np.arange(half, dtype=np.float32) * -step)
    return np.pad(np.concatenate([np.sin(angles), np.cos(angles)]), (0, width % 2))[None]


def guided(predict: Predict, cond: Array, uncond: Array, guidance: Guidance) -> Callable[[Array, float], Array]:
    """Classifier-free guidance (Ho & Salimans 2022), both predictions in one batch; use it for one run only.

    `cond` and `uncond` are text embeddings (1, tokens, width) for all rows of x; diffusers' order, uncond first.
    In calls that are not guided (Kynkaanniemi et al. 2024, arXiv 2404.07724) the prompt's embeddings go alone, and in
    those whose difference is forecast.
    """
    weight, both, differences = np.float32(guidance.scale), guidance.both, Trend()
    call, latest = -1, np.zeros(1, np.float32)

    def one_or_both(x: Array, t: float) -> Array:
        nonlocal call, latest
        call += 1
        if call in both:
            context = np.concatenate([uncond, cond]).repeat(len(x), axis=0)
            without, with_prompt = np.split(predict(np.concatenate([x, x]), t, context), 2)
            difference = with_prompt - without
            if call in guidance.kept:
                difference = latest + np.float32(guidance.kept[call]) * (difference - latest)
                with_prompt = without + difference
            else:
                latest = difference
            if guidance.every > 1:
                differences.add(t, difference)
        else:
            with_prompt = predict(x, t, cond.repeat(len(x), axis=0))
            if call not in guidance.calls:
                return with_prompt
            difference = differences.at(t, len(x))
            without = with_prompt - difference
        beyond = without + weight * difference
        return _rescaled(beyond, with_prompt, guidance.rescale) if guidance.rescale else beyond

    return one_or_both


def _rescaled(beyond: Array, with_prompt: Array, share: float) -> Array:
    """Bring the deviation of each row of `beyond` towards that of the prompt's own prediction.

    Lin et al. 2023 (arXiv 2305.08891), equations (15) and (16); `share` is their phi.
    """
    # Row by row, so that a sum does not depend on how many rows there are.
    ratios = [np.std(to, ddof=1) / np.std(row, ddof=1) for to, row in zip(with_prompt, beyond, strict=True)]
    rescaled = beyond * np.array(ratios, np.float32)[:, None, None, None]
    return np.float32(share) * rescaled + np.float32(1 - share) * beyond
