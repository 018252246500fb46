"""Classifier-free guidance: in which calls, how far, and how often both predictions are computed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..tensors import Array
from .prediction import Predict

__all__ = ["Guidance", "guided", "guided_calls"]


class Guidance(NamedTuple):
    """How far beyond the prompt to go, and in which model calls of the run, counted from 0."""

    scale: float
    calls: range
    rescale: float = 0.0


def guided_calls(interval: tuple[float, float], calls: int, calls_per_step: int = 1) -> range:
    """The model calls, of `calls` in a run, whose step lies inside `interval`, two fractions of the run.

    Step s of the n steps that are run (strength below 1 runs fewer) is inside where int(first n) <= s < int(last n),
    as diffusers' guiders have it. The calls of one step are inside or outside together.
    """
    steps = -(-calls // calls_per_step)
    first, last = (int(edge * steps) * calls_per_step for edge in interval)
    return range(first, min(last, calls))


def guided(predict: Predict, cond: Array, uncond: Array, guidance: Guidance) -> Callable[[Array, float], Array]:
    """Classifier-free guidance (Ho & Salimans 2022), both predictions in one batch; use it for one run only.

    `cond` and `uncond` are text embeddings (1, tokens, width) for all rows of x; diffusers' order, uncond first.
    In calls that are not guided (Kynkaanniemi et al. 2024, arXiv 2404.07724) the prompt's embeddings go alone.
    """
    weight = np.float32(guidance.scale)
    call = -1

    def one_or_both(x: Array, t: float) -> Array:
        nonlocal call
        call += 1
        if call not in guidance.calls:
            return predict(x, t, cond.repeat(len(x), axis=0))
        context = np.concatenate([uncond, cond]).repeat(len(x), axis=0)
        without, with_prompt = np.split(predict(np.concatenate([x, x]), t, context), 2)
        beyond = without + weight * (with_prompt - without)
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
