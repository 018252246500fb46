"""What the checker's CLIP sees of a picture: squares of it, resized and normalised.

As transformers' CLIPImageProcessor does in its Pillow backend, to which diffusers' pipelines hand their pictures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import EngineSetError
from ..tensors import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Preparation"]

STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
OTHER_STEPS = ("do_pad", "do_reduce_labels")
RESCALE = 1 / 255


@dataclass(frozen=True)
class Preparation:
    """`preprocessor_config.json` of a `feature_extractor`: the square's `side`, Pillow's filter, mean and deviation."""

    side: int
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """What the file says, as transformers wrote it in any version.

        Raises:
            EngineSetError: a key is missing, or asks for what is not done here.
        """
        left_out = [name for name in STEPS if not config.get(name, True)]
        further = [name for name in OTHER_STEPS if config.get(name)]
        try:
            size, crop = config["size"], config["crop_size"]
            shortest = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
            sides = {int(crop[name]) for name in ("height", "width")} if isinstance(crop, Mapping) else {int(crop)}
            mean, std = (tuple(map(float, config[name])) for name in ("image_mean", "image_std"))
            rescale = float(config.get("rescale_factor", RESCALE))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineSetError(f"The feature extractor lacks or misstates {error}. Export the set again.") from error
        if left_out or further or sides != {shortest} or abs(rescale - RESCALE) > 1e-9 or {len(mean), len(std)} != {3}:
            raise EngineSetError(
                "The feature extractor must resize to a shortest side, crop a square of it, divide by 255 and "
                f"normalise three colours; this one has size {size}, crop_size {crop}, rescale_factor {rescale:g}, "
                f"leaves out {', '.join(left_out) or 'nothing'} and adds {', '.join(further) or 'nothing'}."
            )
        return cls(shortest, int(config.get("resample", 3)), mean, std)

    def squares(self, image: "Image") -> Iterator[Array]:
        """float32 (1, 3, side, side) of squares that cover the picture, the middle one first.

        Of a square picture that is all of it. Of another, transformers takes the middle square alone, which on a canvas
        that was widened shows the original and nothing that was painted.
        """
        from PIL.Image import Resampling

        short, long = sorted(image.size)
        longest = int(self.side * long / short)
        wide = image.width >= image.height
        resized = image.convert("RGB").resize(
            (longest, self.side) if wide else (self.side, longest), Resampling(self.resample)
        )
        pixels = np.asarray(resized)
        for start in _starts(longest, self.side):
            square = pixels[:, start : start + self.side] if wide else pixels[start : start + self.side]
            scaled = (square.astype(np.float64) * RESCALE).astype(np.float32)
            normalised = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
            yield np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)


def _starts(length: int, side: int) -> list[int]:
    """Where squares of `side` begin that cover `length`: the middle one first, then both ends and what is between."""
    middle = (length - side) // 2
    squares = -(-length // side)
    others = np.linspace(0, length - side, squares | 1).round().astype(int).tolist() if squares > 1 else []
    return [middle, *(start for start in others if abs(start - middle) > 1)]
