"""The shapes that plans are built for: one profile for each canvas size and number of rows, and one for all between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outpaint_engine.engine_set import Artifact
from outpaint_engine.engines import Profile
from outpaint_engine.errors import EngineSetError
from outpaint_engine.prompts import CHUNK, MAX_CHUNKS

__all__ = ["SMALLEST_SIDE", "Buckets", "axis_sizes", "shape_of", "shape_profiles"]

SMALLEST_SIDE = 64
Axes = Mapping[str, int]


@dataclass(frozen=True)
class Buckets:
    """What plans are made for: canvases (width, height) in pixels, and how many rows a call has.

    A UNet call has one row a picture, and two with guidance.
    """

    sizes: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]


def shape_profiles(artifact: Artifact, factor: int, buckets: Buckets) -> list[Profile]:
    """A fixed profile for each size and number of rows, those asked for first, then one that covers everything between.

    `factor` is how many pixels a latent stands for. The last profile goes from one row and `SMALLEST_SIDE` pixels to
    the most rows and the longest side either way, and to the longest prompt; it is at its best at the first size.
    """
    part, most = artifact.part, max(buckets.rows)
    side = max(side for size in buckets.sizes for side in size)
    # A text encoder has as many positions as a chunk has tokens; the UNet is shown several chunks side by side.
    longest = CHUNK if part == "text_encoder" else CHUNK * MAX_CHUNKS
    fixed = [axis_sizes(part, size, rows, factor) for size in buckets.sizes for rows in buckets.rows]
    smallest = axis_sizes(part, (SMALLEST_SIDE, SMALLEST_SIDE), 1, factor)
    best = axis_sizes(part, buckets.sizes[0], most, factor)
    largest = {**axis_sizes(part, (side, side), most, factor), "sequence_length": longest}
    profiles: list[Profile] = []
    for bounds in (*((axes, axes, axes) for axes in fixed), (smallest, best, largest)):
        low, opt, high = ({item["name"]: shape_of(item, axes) for item in artifact.inputs} for axes in bounds)
        profile: Profile = {name: (low[name], opt[name], high[name]) for name in low}
        if profile not in profiles:
            profiles.append(profile)
    return profiles


def axis_sizes(part: str, size: tuple[int, int], rows: int, factor: int) -> dict[str, int]:
    """How large the free axes of a part's graph are for a canvas `size` (width, height); see `layout.GRAPHS`."""
    width, height = size
    # Optimum calls the UNet's axes height and width too, though they are those of latents.
    shrunk = factor if part == "unet" else 1
    return {
        "batch_size": rows,
        "sequence_length": CHUNK,
        "height": height // shrunk,
        "width": width // shrunk,
        "latent_height": height // factor,
        "latent_width": width // factor,
    }


def shape_of(item: Mapping[str, Any], axes: Axes) -> tuple[int, ...]:
    """The shape of one input of a manifest, its free axes filled in.

    Raises:
        EngineSetError: an axis has another name than `outpaint-export onnx` gives it.
    """
    shape: Sequence[int | str] = item["shape"]
    unknown = [axis for axis in shape if isinstance(axis, str) and axis not in axes]
    if unknown:
        raise EngineSetError(
            f"The graph's axis {unknown[0]!r} of {item['name']} is not one that plans can be built for. Export the "
            "checkpoint with `outpaint-export onnx`."
        )
    return tuple(axes[axis] if isinstance(axis, str) else axis for axis in shape)
