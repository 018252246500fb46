"""Figures of a large picture beside the true scene: does it tell one story, is it sharp, does nothing show at tiles."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from outpaint_engine.tensors import Array

__all__ = ["Look", "joint_ratio", "look", "ups"]

QUANTISATION = 0.25
COARSE = 32


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


def joint_ratio(pixels: Array) -> float:
    """Mean gradient from the last column to the first over that between columns up to 16 beside them."""
    steps = np.abs(np.diff(pixels.astype(float), axis=1)).mean(axis=(0, 2))
    joint = np.abs(pixels[:, 0].astype(float) - pixels[:, -1]).mean()
    return float((joint + QUANTISATION) / (np.concatenate([steps[:16], steps[-16:]]).mean() + QUANTISATION))


def _gradient(pixels: Array) -> Array:
    grey = pixels.astype(np.float32).mean(axis=2)
    return np.hypot(np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
