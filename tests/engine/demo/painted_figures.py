"""How good what the demo paints is, beside what the undisturbed scene would score."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from demo_model.scenes import HELD_OUT_SEED, KINDS, TIMES, Scene, draw, scenes
from tqdm import tqdm

from outpaint_engine import OutpaintPipeline, Placement, plan
from outpaint_engine.canvas import QualityReport, report

from .kinds import KindClassifier
from .picture_figures import line_jump, ridge_explained_gradient, sharpness

Array = np.ndarray

SIDE, EXTRA, EXPAND = 256, 64, 8
STEPS = 25
RIDGED = ("mountains", "hills", "dunes")
LINED = (*RIDGED, "sea")
"""Kinds whose strongest line is a ridge, and those that have one to follow across the seam at all."""
STRIP = 8
SEAMS = (
    (EXTRA + EXPAND // 2, (EXTRA + EXPAND, EXTRA + EXPAND + STRIP), (EXTRA - STRIP, EXTRA)),
    (
        EXTRA + SIDE - EXPAND // 2,
        (EXTRA + SIDE - EXPAND - STRIP, EXTRA + SIDE - EXPAND),
        (EXTRA + SIDE, EXTRA + SIDE + STRIP),
    ),
)
"""Of a widened scene: the middle of each blend band, and the columns next to it that are given and painted."""
PALETTES = 40
"""Scenes that the palettes of the times of day are of."""


class Look(NamedTuple):
    """One picture's figures where it is painted; None where it has no such line."""

    quality: QualityReport
    sharpness: float
    ridge: float | None
    jump: float | None


@dataclass(frozen=True)
class PaintedFigures:
    """Medians and shares over held-out scenes; the `_of_the_scene` ones are of the undisturbed picture."""

    changed_pixels: int
    seam_gradient_ratio: float
    seam_gradient_ratio_of_the_scene: float
    ring_color_shift: float
    ring_color_shift_of_the_scene: float
    sharpness: float
    sharpness_by_kind: dict[str, float]
    ridge_explained_gradient: dict[str, float]
    ridge_explained_gradient_of_the_scene: dict[str, float]
    line_jump: float
    line_jump_of_the_scene: float
    time_of_day_followed: float
    kind_followed: float | None
    """None where no classifier was given."""


def measure_painted(
    pipe: OutpaintPipeline, chosen: Sequence[Scene], classifier: KindClassifier | None = None
) -> PaintedFigures:
    """Paint around every scene of `chosen`, twice."""
    looks = [widen(pipe, scene) for scene in tqdm(chosen, desc="sides extended")]
    found, original = ([pair[side] for pair in looks] for side in (0, 1))
    references = {time: palette_of_time(time) for time in TIMES}
    around = [(scene, *one_quarter_known(pipe, scene)) for scene in tqdm(chosen, desc="one quarter known")]
    named = [classifier.kind(picture) == scene.kind for scene, picture, _ in around] if classifier else []
    return PaintedFigures(
        sum(look.quality.changed_pixels for look in found),
        _median(look.quality.seam_gradient_ratio for look in found),
        _median(look.quality.seam_gradient_ratio for look in original),
        _median(look.quality.ring_color_shift for look in found),
        _median(look.quality.ring_color_shift for look in original),
        _median(look.sharpness for look in found),
        _medians(chosen, [look.sharpness for look in found]),
        _medians(chosen, [look.ridge for look in found]),
        _medians(chosen, [look.ridge for look in original]),
        _median(look.jump for look in found),
        _median(look.jump for look in original),
        statistics.mean(nearest_time(picture, painted, references) == scene.time for scene, picture, painted in around),
        statistics.mean(named) if named else None,
    )


def widen(pipe: OutpaintPipeline, scene: Scene) -> tuple[Look, Look]:
    """The middle of a wide scene extended to both sides again, and the scene itself."""
    wide = draw(scene, SIDE + 2 * EXTRA, SIDE)
    middle = wide[:, EXTRA : EXTRA + SIDE]
    placement = Placement.from_sides((SIDE, SIDE), left=EXTRA, right=EXTRA)
    request = {"width": placement.width, "height": placement.height, "offset_x": EXTRA, "mask_expand": EXPAND}
    result = pipe(image=middle, prompt=scene.caption, seed=scene.seed, num_inference_steps=STEPS, **request)
    planned = plan((SIDE, SIDE), placement, EXPAND)
    painted = np.asarray(result.images[0])
    unknown = planned.unknown.astype(bool)
    return (
        _look(painted, wide, unknown, scene.kind, result.quality[0]),
        _look(wide, wide, unknown, scene.kind, report(wide, wide, planned)),
    )


def one_quarter_known(pipe: OutpaintPipeline, scene: Scene) -> tuple[Array, Array]:
    """A picture painted around its middle quarter, and which of its pixels were painted."""
    middle = draw(scene, SIDE, SIDE)[SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4]
    placed = {"width": SIDE, "height": SIDE, "offset_x": SIDE // 4, "offset_y": SIDE // 4}
    result = pipe(image=middle, prompt=scene.caption, seed=scene.seed, num_inference_steps=STEPS, **placed)
    return np.asarray(result.images[0], np.float64), result.plan.unknown == 1


def palette_of_time(time: str) -> Array:
    """Mean colours by thirds of other scenes at that time of day."""
    same = [scene for scene in scenes(HELD_OUT_SEED + 1, PALETTES) if scene.time == time]
    whole = np.ones((SIDE, SIDE), bool)
    return np.mean([_thirds(draw(scene, SIDE, SIDE), whole) for scene in same], axis=0)


def nearest_time(picture: Array, painted: Array, references: dict[str, Array]) -> str:
    """The time of day whose palette is nearest to that of what was painted."""
    colours = _thirds(picture, painted)
    return min(references, key=lambda time: float(np.abs(colours - references[time]).mean()))


def _thirds(pixels: Array, counted: Array) -> Array:
    """Mean colour of the upper, middle and lower third of a picture, counted pixels only: shape (3, 3)."""
    rows = np.array_split(np.arange(len(pixels)), 3)
    return np.stack([pixels[part][counted[part]].mean(axis=0) for part in rows])


def _look(picture: Array, truth: Array, painted: Array, kind: str, quality: QualityReport) -> Look:
    ridge = ridge_explained_gradient(picture, painted) if kind in RIDGED else None
    jump = statistics.mean(line_jump(picture, *seam) for seam in SEAMS) if kind in LINED else None
    return Look(quality, sharpness(picture, truth, painted), ridge, jump)


def _median(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else float("nan")


def _medians(chosen: Sequence[Scene], values: Sequence[float | None]) -> dict[str, float]:
    """Median of `values`, one a scene, for each kind that has any."""
    grouped = {kind: [v for s, v in zip(chosen, values, strict=True) if s.kind == kind] for kind in KINDS}
    return {kind: _median(group) for kind, group in grouped.items() if any(value is not None for value in group)}
