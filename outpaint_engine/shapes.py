"""Which shapes a canvas means for the inputs of each part of the model: the one place that knows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .engine_set import PARTS, EngineSet
from .prompts import CHUNK
from .tensors import Shapes

__all__ = ["Bucket", "part_shapes", "shapes_to_prepare"]


class Bucket(NamedTuple):
    """A shape that engines of fixed shapes are made ready for: the canvas in pixels, and the rows of a UNet call.

    With guidance each picture of a call takes two rows.
    """

    width: int
    height: int
    rows: int = 2


def shapes_to_prepare(engine_set: EngineSet, buckets: Sequence[Bucket] = ()) -> dict[str, tuple[Shapes, ...]]:
    """For each part, the shapes of its inputs for `buckets`; without any, for the set's native size.

    A part whose inputs no manifest states has none.
    """
    wanted = buckets or (Bucket(engine_set.native_size, engine_set.native_size),)
    tokens = engine_set.text_length
    found: dict[str, tuple[Shapes, ...]] = {}
    for part in PARTS:
        inputs = engine_set.artifact(part).inputs
        each = (part_shapes(part, inputs, bucket, engine_set.latent_factor, tokens) for bucket in wanted)
        found[part] = tuple(dict.fromkeys(shapes for shapes in each if shapes))
    return found


def part_shapes(
    part: str, inputs: Iterable[Mapping[str, Any]], bucket: Bucket, factor: int, tokens: int = CHUNK
) -> Shapes:
    """The shapes of a part's `inputs`, which are a manifest's: each a name and a shape.

    `factor` is pixels per latent, `tokens` what the text encoder reads at a time. Fixed axes stay as they are.
    """
    width, height, rows = bucket
    scale = 1 if part == "vae_encoder" else factor
    picture = (rows if part == "unet" else 1, None, height // scale, width // scale)
    free = {4: picture, 3: (picture[0], tokens, None), 2: (picture[0], tokens), 1: picture[:1], 0: ()}
    shapes = []
    for entry in inputs:
        axes: Sequence[int | str] = entry["shape"]
        sizes = [axis if isinstance(axis, int) else free[len(axes)][at] for at, axis in enumerate(axes)]
        shapes.append((str(entry["name"]), tuple(int(size) for size in sizes if size is not None)))
    return tuple(sorted(shapes))
