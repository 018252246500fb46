"""The safety checker of an engine set: its engine, what it is shown, and its concepts."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ..engine_set import EngineSet, regular_file
from ..engine_set.files import REMEDY, read_json
from ..engines import Engine, EngineOptions, load_optional
from ..errors import EngineSetError, NumericalError
from ..tensors import Array
from .concepts import Concepts, SafetyReport
from .preparing import Preparation

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CONCEPTS", "PART", "PREPARATION", "SafetyChecker"]

PART = "safety_checker"
CONCEPTS, PREPARATION = f"{PART}/concepts.safetensors", "feature_extractor/preprocessor_config.json"
LACKING = (
    "The engine set {folder} has no safety checker. Leave safety off, or export the checkpoint again with one: "
    "`outpaint-export onnx SOURCE OUT --safety-checker CHECKPOINT`, where CHECKPOINT is a folder or "
    "hub id that has safety_checker and feature_extractor."
)
PIXELS, EMBEDDING = "clip_input", "image_embeds"


class SafetyChecker:
    """`engine` takes `clip_input` (n, 3, side, side) and gives `image_embeds` (n, width); any thread may call it."""

    def __init__(self, engine: Engine, preparation: Preparation, concepts: Concepts) -> None:
        self.engine, self.preparation, self.concepts = engine, preparation, concepts

    @classmethod
    def open(cls, engine_set: EngineSet, backend: str, options: EngineOptions) -> Self:
        """Load the checker of a set that has one on `backend`; beside plans, of which it has none, on `ort-cpu`.

        Raises:
            RequestError: the set has none.
            EngineSetError: its files are damaged.
            BackendUnavailable: the backend cannot be used here.
        """
        engine = load_optional(engine_set, PART, backend, options, LACKING)
        return cls(engine, *_read(engine_set.folder))

    def check(self, image: "Image") -> SafetyReport:
        """Judge a picture by the squares that cover it; one call of the engine a square.

        Raises:
            NumericalError: the engine answered with NaN or infinity.
        """
        return SafetyReport.highest(
            [self.concepts.judge(self.embedded(square)) for square in self.preparation.squares(image)]
        )

    def embedded(self, square: Array) -> Array:
        """The embedding, float32 (width,), of one square (1, 3, side, side)."""
        feeds = {PIXELS: square.astype(self.engine.inputs[PIXELS].dtype)}
        embedding: Array = self.engine.run(feeds)[EMBEDDING][0].astype(np.float32)
        if not np.isfinite(embedding).all():
            raise NumericalError("The safety checker answered with NaN or infinity. Export the engine set again.")
        return embedding

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()


def _read(folder: Path) -> tuple[Preparation, Concepts]:
    """What lies beside the graph."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(regular_file(folder, CONCEPTS))
    except (SafetensorError, ValueError, OSError) as error:
        raise EngineSetError(
            f"The safety checker in {folder} cannot be read: {error}. {REMEDY.format(folder=folder)}"
        ) from error
    return Preparation.of(read_json(folder, PREPARATION)), Concepts.of(tensors)
