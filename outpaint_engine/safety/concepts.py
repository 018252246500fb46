"""The concepts that the safety checker looks for, and its arithmetic on the embedding of a picture.

As `StableDiffusionSafetyChecker.forward` in diffusers (pipelines/stable_diffusion/safety_checker.py): cosines between
the picture and each concept, less the concept's threshold, rounded to three decimals; above 0 it is found. What needs
special care makes everything after it stricter. The concepts are embeddings alone: nobody published their names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..errors import EngineSetError
from ..tensors import Array

__all__ = ["TENSORS", "Concepts", "SafetyReport"]

TENSORS = ("concept_embeds", "special_care_embeds", "concept_embeds_weights", "special_care_embeds_weights")
"""What they are called in a checkpoint, and in the file beside the graph."""
STRICTER = np.float32(0.01)


@dataclass(frozen=True)
class SafetyReport:
    """What the checker found in one picture: `flagged` if it is like one of the concepts or several.

    `concepts` are those that it is like, by their number. `scores` are, for each concept, how far the likeness is above
    its threshold; `special_scores` those of the concepts that only make it stricter. Of several squares of a picture,
    the highest.
    """

    flagged: bool
    concepts: tuple[int, ...]
    scores: tuple[float, ...]
    special_scores: tuple[float, ...]

    @classmethod
    def highest(cls, reports: Sequence[Self]) -> Self:
        """One report of all squares of a picture."""
        scores, special = (
            tuple(max(values) for values in zip(*rows, strict=True))
            for rows in ([each.scores for each in reports], [each.special_scores for each in reports])
        )
        found = tuple(index for index, score in enumerate(scores) if score > 0)
        return cls(bool(found), found, scores, special)


@dataclass(frozen=True)
class Concepts:
    """Embeddings, float32 (n, width), and thresholds, float32 (n,), of concepts and of those that need special care."""

    embeddings: Array
    special_embeddings: Array
    thresholds: Array
    special_thresholds: Array

    @classmethod
    def of(cls, tensors: Mapping[str, Array]) -> Self:
        """From the tensors of a checkpoint's names.

        Raises:
            EngineSetError: one is missing, or their shapes do not belong together.
        """
        missing = [name for name in TENSORS if name not in tensors]
        if missing:
            raise EngineSetError(f"The safety checker lacks {', '.join(missing)}. Export the engine set again.")
        each: list[Array] = [np.asarray(tensors[name], np.float32) for name in TENSORS]
        embeddings, special, thresholds, special_thresholds = each
        shapes = (len(thresholds), special.shape[-1]), (len(special_thresholds), embeddings.shape[-1])
        if (embeddings.shape, special.shape) != shapes:
            raise EngineSetError("The safety checker's concepts and thresholds differ in number. Export the set again.")
        return cls(embeddings, special, thresholds, special_thresholds)

    def cosines(self, embedding: Array) -> tuple[Array, Array]:
        """Cosines, float32 (n,), of one embedding (width,) with the concepts, and with those of special care."""
        picture = _unit(embedding[None])
        cosines, special = (picture @ _unit(each).T for each in (self.embeddings, self.special_embeddings))
        return cosines[0], special[0]

    def judge(self, embedding: Array) -> SafetyReport:
        """What an embedding (width,) of a picture is like."""
        cosines, special = self.cosines(embedding)
        adjustment, special_scores = np.float32(0), []
        for cosine, threshold in zip(special, self.special_thresholds, strict=True):
            score = np.round(cosine - threshold + adjustment, 3)
            special_scores.append(float(score))
            if score > 0:
                adjustment = STRICTER
        scores = np.round(cosines - self.thresholds + adjustment, 3)
        found = tuple(int(index) for index in np.flatnonzero(scores > 0))
        return SafetyReport(bool(found), found, tuple(map(float, scores)), tuple(special_scores))


def _unit(rows: Array) -> Array:
    """Rows of length 1, as torch's `normalize`: a row of zeros stays one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
