"""What every run is to its caller: progress step by step, then a result."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..adapters import UsedLora
from ..canvas import CanvasPlan, QualityReport
from ..components import TinyDecoder, VaeDecoder
from ..errors import OutpaintError, RequestError
from ..images import to_image
from ..on_device import DeviceStep
from ..safety import SafetyReport
from ..samplers import Step
from ..tensors import Array
from ..timing import Timings

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["OutpaintResult", "OutpaintRun", "Progress", "to_levels"]


@dataclass(frozen=True)
class OutpaintResult:
    """What a run gives back; `images`, `seeds` and `quality` have one entry a picture.

    `latents` are the final ones, float32 (num_images, 4, h, w), before decoding; `engine_set` is the SHA-256
    of the set's manifest, empty where it has none. `safety` has one entry a picture where the request asks for it.
    """

    images: "list[Image]"
    seeds: list[int]
    quality: list[QualityReport]
    latents: Array = field(repr=False)
    plan: CanvasPlan
    notes: tuple[str, ...]
    timings: Timings
    backend: str
    device: str
    precision: str
    engine_set: str
    noise: str
    scheduler: str
    loras: tuple[UsedLora, ...] = ()
    safety: tuple[SafetyReport, ...] = ()

    @property
    def seed(self) -> int:
        """The first picture's seed: pass it to get that picture again."""
        return self.seeds[0]


@dataclass(frozen=True)
class Progress:
    """After one call of the UNet: `step` of `steps` in the whole request; `pictures` share the call, by their index.

    Heun and the DPM2 family call it twice a step, so that 25 of their steps count 49.
    """

    step: int
    steps: int
    sampled: Step | DeviceStep
    decoder: VaeDecoder
    pictures: range
    shown: "Image | None" = None
    """Of a picture that is being refined: what is refined."""

    colours: tuple[tuple[float, ...], ...] = ()
    """Of latents, as the engine set's manifest says them."""

    tiny: TinyDecoder | None = None
    """The engine set's tiny decoder, where it was loaded when the run began."""

    def preview(self, index: int = 0, *, decoded: bool | Literal["tiny"] = False) -> "Image":
        """The `index`th of `pictures` as the model sees it now, at the size of the canvas; or `shown`.

        Each latent in its colour, which costs next to nothing, where the engine set says their colours. `decoded`, and
        where it does not, by one call of the decoder that the run's picture is made by; "tiny" by one of the tiny
        decoder, which `OutpaintPipeline.load_tiny_decoder` loads before the run.

        Raises:
            RequestError: the tiny decoder was not loaded.
            OutpaintError: the run has gone on, and on its device this step's latents are no longer there.
        """
        if self.shown is not None:
            return self.shown.copy()
        x0 = self.sampled.x0[index : index + 1]
        if self.colours and not decoded:
            return coloured(x0[0], self.colours)
        decoder = self.tiny if decoded == "tiny" else self.decoder
        if decoder is None:
            raise RequestError(
                "The tiny decoder was not loaded: call load_tiny_decoder() of the pipeline before the run."
            )
        return to_image(to_levels(decoder.decode(x0)).round().astype(np.uint8))


class OutpaintRun(ABC):
    """Iterate over it once; then read `result`. `plan` and `notes` (what a person should know) can be read at once."""

    notes: tuple[str, ...] = ()

    def __init__(self, plan: CanvasPlan) -> None:
        self.plan = plan
        self._result: OutpaintResult | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Progress]:
        """Run; stop iterating to cancel."""

    @property
    def result(self) -> OutpaintResult:
        """The result.

        Raises:
            OutpaintError: the iteration has not ended.
        """
        if self._result is None:
            raise OutpaintError("This run has no result yet: iterate over it to the end first.")
        return self._result


def coloured(latents: Array, rows: tuple[tuple[float, ...], ...]) -> "Image":
    """Latents (4, h, w) as a picture of 8h x 8w pixels: `rows` are four factors and what is added, for each colour."""
    matrix = np.asarray(rows, np.float32) * 127.5
    mixed = np.tensordot(latents, matrix[:, :4], (0, 1)) + (matrix[:, 4] + 128)
    height, width = latents.shape[1:]
    return to_image(np.clip(mixed, 0, 255).astype(np.uint8)).resize((8 * width, 8 * height), resample=2)


def to_levels(pixels: Array) -> Array:
    """float32 (1, 3, height, width) in about [-1, 1] to float32 (height, width, 3) in [0, 255]."""
    return np.clip(pixels[0].transpose(1, 2, 0) * 127.5 + 127.5, 0, 255).astype(np.float32)
