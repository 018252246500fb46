"""Finds the safety checker that a set is to have: the checkpoint's own, another one's, or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from outpaint_engine.errors import EngineSetError
from outpaint_engine.safety import Concepts, Preparation
from outpaint_engine.safety.checker import PREPARATION
from outpaint_engine.safety.concepts import TENSORS

from ..errors import SourceError
from .checkpoint import SafetySource
from .folders import read_json
from .optional import optional_folder, optional_module

__all__ = ["CHECKER", "check_safety_checker", "open_safety_checker"]

CHECKER = "safety_checker"
PARTS = {CHECKER: ("model", "model_type", "clip")}
"""As `folders.PARTS`."""
COLOURS = 3
LEAVE_OUT = "To export without it: `--safety-checker none`."


def open_safety_checker(chosen: str, source: str, revision: str | None = None) -> SafetySource | None:
    """The checker that `chosen` names: "own" is that of the checkpoint `source`, where it has one; "none"; or a source.

    Raises:
        SourceError: what was named has none, or it is of another kind or a pickle.
    """
    if chosen == "none" or (chosen == "own" and Path(source).is_file()):
        return None
    named, at = (source, revision) if chosen == "own" else (chosen, None)
    folder = optional_folder(named, at, PARTS, (PREPARATION,), LEAVE_OUT)
    if not ((folder / CHECKER / "config.json").is_file() and (folder / PREPARATION).is_file()):
        if chosen == "own":
            return None
        raise SourceError(
            f"{named} has no safety checker with its feature extractor: expected {CHECKER}/ and {PREPARATION}. Give "
            "the diffusers folder or the hub id of a checkpoint that has them."
        )
    load = optional_module(StableDiffusionSafetyChecker, folder, PARTS, LEAVE_OUT)
    return SafetySource(load, read_json(folder / PREPARATION))


def check_safety_checker(module: StableDiffusionSafetyChecker, preparation: Mapping[str, Any]) -> None:
    """Raise a `SourceError` unless the runtime can prepare the checker's pictures and judge its embeddings."""
    vision = module.config.vision_config
    try:
        prepared = Preparation.of(preparation)
        Concepts.of({name: getattr(module, name).detach().numpy() for name in TENSORS})
    except EngineSetError as error:
        raise SourceError(f"The safety checker cannot be used: {error} {LEAVE_OUT}") from error
    if (prepared.side, COLOURS) != (int(vision.image_size), int(vision.num_channels)):
        raise SourceError(
            f"The safety checker looks at {vision.image_size} pixels a side in {vision.num_channels} colours and its "
            f"feature extractor makes {prepared.side} in {COLOURS}. {LEAVE_OUT}"
        )
