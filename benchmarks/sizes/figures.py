"""Figures of a large picture beside the true scene: does it tell one story, is it sharp, does nothing show at tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from outpaint_engine.tensors import Array

__all__ = ["Joint", "Look", "drift", "joint", "look", "ups"]

QUANTISATION = 0.25
COARSE = 32
BESIDE = 16


@dataclass(frozen=True)
class Joint:
    """Of one picture that wraps.

    `ratio`: mean gradient from the last column to the first over that between the columns up to 16 beside them.
    `to_others`: that over its median at the painted columns that are other multiples of 8, where a decoder has steps of
    its own. `rank`: the share of these at which it is smaller: a joint that shows has nearly 1 in every picture.
    """

    ratio: float
    to_others: float
    rank: float


@dataclass(frozen=True)
class Look:
    """Of one picture.

    `ups`: ups and downs beside the picture over the true scene's. `sharp`: the steepest edges (99.9th percentile of
    the gradient over painted pixels) over those of the composition enlarged by Lanczos. `rough`: the 75th percentile
    over the true scene's, a guard against false detail.
    """

    ups: float
    sharp: float
    rough: float


def look(pixels: Array, truth: Array, plain: Array, unknown: Array) -> Look:
    """Measure uint8 (height, width, 3) pictures; `plain` is the composition enlarged, `unknown` what was painted."""
    painted = unknown[:-1, :-1]
    found, true, soft = (_gradient(each)[painted] for each in (pixels, truth, plain))
    beside = unknown.all(axis=0) if unknown.all(axis=0).any() else unknown.any(axis=0)
    return Look(
        ups(pixels, beside) / ups(truth, beside),
        float(np.percentile(found, 99.9) / np.percentile(soft, 99.9)),
        float((np.percentile(found, 75) + QUANTISATION) / (np.percentile(true, 75) + QUANTISATION)),
    )


def ups(pixels: Array, columns: Array) -> float:
    """Total variation of the vertical profile over its range, at 32x32; median over the marked columns."""
    small = np.asarray(Image.fromarray(pixels).convert("L").resize((COARSE, COARSE), Image.Resampling.BOX), float)
    marked = np.asarray(Image.fromarray(columns[None]).resize((COARSE, 1), Image.Resampling.NEAREST))[0]
    profiles = small[:, marked]
    return float(np.median(np.abs(np.diff(profiles, axis=0)).sum(0) / (np.ptp(profiles, axis=0) + 1)))


def joint(pixels: Array, painted: Array) -> Joint:
    """Measure a uint8 (height, width, 3) picture that wraps; `painted` is bool (width,), by column."""
    steps = np.abs(pixels.astype(float) - np.roll(pixels, 1, axis=1).astype(float)).mean(axis=(0, 2))
    width, beside = len(steps), [shift for shift in range(-BESIDE, BESIDE + 1) if shift]
    around = np.mean([np.roll(steps, -shift) for shift in beside], axis=0)
    ratios = (steps + QUANTISATION) / (around + QUANTISATION)
    other = [column for column in range(8, width, 8) if painted[column] and painted[column - 1]]
    usual = ratios[other]
    return Joint(float(ratios[0]), float(ratios[0] / np.median(usual)), float((usual < ratios[0]).mean()))


def drift(keyframes: Sequence[Array], painted: Array) -> tuple[float, float]:
    """The trend of the mean colour of what each keyframe but the first had painted, over all of them, in levels of 255.

    And its standard error, from how the keyframes differ beside the trend. Of the channel with the largest trend;
    `painted` is bool (height, width). The first keyframe is left out: it is another view.
    """
    means = np.array([keyframe[painted].mean(axis=0) for keyframe in keyframes[1:]])
    hops = np.arange(len(means)) - (len(means) - 1) / 2
    slopes = hops @ means / (hops @ hops)
    rest = means - means.mean(axis=0) - hops[:, None] * slopes
    errors = np.sqrt((rest**2).sum(axis=0) / (len(means) - 2) / (hops @ hops))
    most = int(np.abs(slopes).argmax())
    return float(abs(slopes[most]) * (len(means) - 1)), float(errors[most] * (len(means) - 1))


def _gradient(pixels: Array) -> Array:
    grey = pixels.astype(np.float32).mean(axis=2)
    return np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
