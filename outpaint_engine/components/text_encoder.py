"""The text encoder, also with words that were added to its table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine_set import EngineSet
from ..engines.base import Engine
from ..errors import EngineSetError
from ..shapes import Bucket, part_shapes
from ..tensors import Array, Shapes
from .component import Component

__all__ = ["ADDED_WORDS", "TextEncoder"]

KEPT_TEXTS = 64
"""Chunks of 77 tokens: 15 MB for SD1.5."""
ADDED_WORDS = "added_words"
"""The graph of a text encoder that takes vectors for words which its token table does not have."""
VECTORS_AT_ONCE = 32
"""Vectors are handed over in multiples of so many, so that a further word is seldom another shape to compile for."""
MASK, ADDED = "attention_mask", "added_embeddings"


@dataclass
class _AddedWords:
    """The vectors of words that were added, float32 (n, width), whose first `words` rows are used."""

    vectors: Array | None = None
    words: int = 0


class TextEncoder(Component):
    """Token ids to embeddings. Those of the latest `KEPT_TEXTS` texts are kept, so a repeated one costs no call.

    `like` is another encoder whose added words this one has too, now and later.
    """

    part, input_names, output_name = "text_encoder", ("input_ids",), "last_hidden_state"

    def __init__(self, engine: Engine, like: "TextEncoder | None" = None) -> None:
        super().__init__(engine)
        self._kept = lru_cache(maxsize=KEPT_TEXTS)(self._embed)
        self._added: _AddedWords = like._added if like else _AddedWords()

    @property
    def width(self) -> int | None:
        """Numbers in an embedding, and in a token's vector; None where the graph does not say."""
        axis = self.engine.outputs[self.output_name].shape[-1]
        return axis if isinstance(axis, int) else None

    @staticmethod
    def shapes_with_words(engine_set: EngineSet, inputs: Iterable[Mapping[str, Any]]) -> Shapes:
        """The shapes of a call, where the graph that takes words has these `inputs` in the manifest."""
        shapes = part_shapes("text_encoder", inputs, Bucket(0, 0), engine_set.latent_factor, engine_set.text_length)
        return tuple((name, (VECTORS_AT_ONCE, shape[1]) if name == ADDED else shape) for name, shape in shapes)

    @property
    def takes_words(self) -> bool:
        """Whether the graph takes vectors for token ids below 0."""
        return ADDED in self.engine.inputs

    def add_words(self, vectors: Array, engine: Engine | None = None) -> None:
        """Let the next token ids below 0 stand for `vectors`, float32 (n, width); run on `engine` if it is given."""
        before, words = self._added.vectors, self._added.words
        added = np.concatenate([before[:words], vectors]) if before is not None else vectors
        rows = max(1, -(-len(added) // VECTORS_AT_ONCE)) * VECTORS_AT_ONCE
        # A thread that is encoding has the vectors of every word it can have read.
        self._added.vectors, self._added.words = np.pad(added, ((0, rows - len(added)), (0, 0))), len(added)
        self.engine = engine or self.engine

    def encode(self, input_ids: Array, clip_skip: int | None = None, mask: Array | None = None) -> Array:
        """Embeddings, float32 (1, tokens, width), not to be written to, of token ids (1, tokens).

        `clip_skip` leaves out that many of the last layers, and normalises as after the last, as diffusers does.
        `mask`, int64 (1, tokens), is 1 where there is no padding; it is read by the encoders that were trained with
        one (`use_attention_mask` in diffusers' configuration), and without it nothing counts as padding.

        Raises:
            EngineSetError: the graph does not give that layer.
        """
        output = f"clip_skip.{clip_skip}" if clip_skip else self.output_name
        if output not in self.engine.outputs:
            layers = sum(name.startswith("clip_skip.") for name in self.engine.outputs)
            raise EngineSetError(
                f"clip_skip can be 1 to {layers} with this engine set, not {clip_skip}."
                if layers
                else "This engine set's text encoder gives its last layer only, so clip_skip cannot be used. Export "
                "the checkpoint again with `outpaint-export onnx`."
            )
        feeds = {"input_ids": input_ids}
        if MASK in self.engine.inputs:
            feeds[MASK] = np.ones_like(input_ids) if mask is None else mask
        return self._kept(output, **{name: np.asarray(value, np.int64).tobytes() for name, value in feeds.items()})

    def _embed(self, output: str, **feeds: bytes) -> Array:
        rows = {name: np.frombuffer(value, np.int64)[None] for name, value in feeds.items()}
        engine = self.engine
        if ADDED in engine.inputs and self._added.vectors is not None:
            rows[ADDED] = self._added.vectors
        embeddings = self._finite(self._answers((output,), rows, engine)[output])
        embeddings.flags.writeable = False
        return embeddings
