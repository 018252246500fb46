"""A run on a canvas larger than the model's size: composed at that size, enlarged, refined in tiles."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..canvas import QualityReport, report, tile_edge_ratio
from ..components import Models
from ..images import to_image
from ..noise import noise_source
from ..request import OutpaintRequest
from ..run import OutpaintResult, OutpaintRun, Placed, Progress, StraightRun, bucket_of, pictures_per_call
from ..samplers import Walk
from ..shapes import Bucket
from .at_size import placed_at, plan_at
from .begin import begin
from .levels import AUTO_FACTOR, factor, levels, work_size
from .refine import Layout, Refinement, Sampling
from .tiles import FACTOR

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LargeRun", "asks_for_detail", "large_buckets"]

LATER = 0.75
"""Of the first level's strength, at the levels above it."""
ANCHORS = 2, 1
"""The anchor's radius in latents at the first level, and above it."""
SEED_STEP = 1_000_003
MAX_SEED = 2**63


def asks_for_detail(request: OutpaintRequest, native_size: int) -> bool:
    """Whether a request goes the way of `LargeRun` on a set of that native size."""
    least = {"auto": AUTO_FACTOR, "off": math.inf}.get(str(request.detail), 1.0)
    return factor(request.width, request.height, request.chosen_detail.work_size or native_size) > least


def large_buckets(request: OutpaintRequest, native_size: int, most: int | None = None) -> tuple[Bucket, ...]:
    """The shapes of a request's UNet calls, for `EngineOptions.buckets`: the composition's and a tile's."""
    if not asks_for_detail(request, native_size):
        return (bucket_of(request, most),)
    detail = request.chosen_detail
    width, height = work_size(request.width, request.height, detail.work_size or native_size)
    tile = detail.tile or native_size
    small, square = replace(request, width=width, height=height), replace(request, width=tile, height=tile)
    return tuple(dict.fromkeys(bucket_of(each, most) for each in (small, square)))


class LargeRun(OutpaintRun):
    """Composes with a `StraightRun`, then goes up level by level; the first refined levels, then plain enlarging."""

    def __init__(self, models: Models, request: OutpaintRequest, placed: Placed, max_batch: int | None = None) -> None:
        super().__init__(placed.plan)
        self._models = models.guided_by(request.guidance_scale)
        self._request, self._placed = request, placed
        detail, native = request.chosen_detail, models.engine_set.native_size
        side = detail.work_size or native
        small = work_size(request.width, request.height, side)
        composed = replace(request, width=small[0], height=small[1], detail="off")
        self.composition = StraightRun(models, composed, placed_at(placed, small), max_batch)
        refined = models.engine_set.detail_levels if detail.levels is None else detail.levels
        self._levels = levels(request.width, request.height, side, refined)
        tile = detail.tile or native
        overlap = tile // 4 if detail.overlap is None else detail.overlap
        self._layouts = [
            Layout.of(plan_at(placed.plan, level[:2]), tile // FACTOR, overlap // FACTOR)
            for level in self._levels
            if level.refined
        ]
        self._together = pictures_per_call(tile, tile, max_batch)
        self.notes = (*self.composition.notes, self._approximation(small))

    def _approximation(self, small: tuple[int, int]) -> str:
        sizes = ", ".join(f"{level.width}x{level.height}" for level in self._levels if level.refined)
        done = f"refined in overlapping tiles at {sizes}" if sizes else "not refined"
        last = self._levels[-1]
        if not last.refined:
            done += f" and enlarged to {last.width}x{last.height}"
        return (
            f"The picture was composed at {small[0]}x{small[1]}, which the model knows; what is painted was enlarged "
            f"from there, {done}: another picture than diffusers paints at this size. detail off paints it at once."
        )

    def __iter__(self) -> Iterator[Progress]:
        """Run; one `Progress` a call of the UNet, and above the composition one a call of the autoencoder too."""
        above = self._request.num_images * sum(
            layout.pauses(len(self._walk(number).calls), self._together) for number, layout in enumerate(self._layouts)
        )
        for composing in self.composition:
            progress = replace(composing, steps=composing.steps + above)
            yield progress
        composed = self.composition.result
        finished: list[tuple[Image, QualityReport]] = []
        for index in range(len(composed.images)):
            for shown in self._climb(composed, index, finished):
                progress = replace(progress, step=progress.step + 1, pictures=range(index, index + 1), shown=shown)
                yield progress
        images, quality = zip(*finished, strict=True)
        self._result = replace(composed, images=list(images), quality=list(quality), plan=self.plan, notes=self.notes)

    def _climb(
        self, composed: OutpaintResult, index: int, finished: list[tuple["Image", QualityReport]]
    ) -> Iterator["Image"]:
        """Take one picture up all levels; gives the picture of the level below after every call of a model."""
        timings, image = composed.timings, composed.images[index]
        tile_edges: float | None = None
        for number, level in enumerate(self._levels):
            placed = placed_at(self._placed, level[:2])
            with timings.stage("enlarge"):
                picture = begin(np.asarray(image), placed, self._request.color_match)
            if level.refined:
                refinement = Refinement(self._models, self._layouts[number], self._together, timings)
                for _ in refinement.run(picture, placed, self._sampling(number, composed.seeds[index])):
                    yield image
                tile_edges = tile_edge_ratio(picture, placed.plan, *self._layouts[number].lines)
            image = to_image(picture)
        with timings.stage("quality"):
            measured = report(picture, self._placed.canvas, self.plan)
        finished.append((image, replace(measured, tile_edge_ratio=tile_edges)))

    def _walk(self, number: int) -> Walk:
        request = self._request
        strength = request.chosen_detail.strength * (LATER if number else 1)
        composition = self.composition
        return composition.scheduler.plan(composition.schedule, request.num_inference_steps, strength)

    def _sampling(self, number: int, seed: int) -> Sampling:
        request = self._request
        return Sampling(
            self.composition.sampler,
            self._walk(number),
            *self.composition.embeddings(),
            guidance_scale=1.0 if number else request.guidance_scale,
            anchor_radius=ANCHORS[min(number, 1)],
            draw=noise_source(request.noise, (seed + (number + 1) * SEED_STEP) % MAX_SEED),
        )
