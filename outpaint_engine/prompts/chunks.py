"""Prompts in chunks: CLIP reads 77 tokens at a time, of which 75 are the prompt's.

A longer prompt is cut into windows of 75 tokens, each encoded by itself with its own start and end mark, and the
embeddings are put one after the other, as AUTOMATIC1111's web UI does (without its search for a comma to cut at).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import RequestError
from ..tensors import Array
from .tokens import ClipTokenizer
from .weights import Piece, parse

__all__ = ["CHUNK", "MAX_CHUNKS", "WEIGHTINGS", "Chunks", "PromptPair", "Prompts"]

CHUNK = 77
MAX_CHUNKS = 32
WEIGHTINGS = ("auto", "on", "off")


class Chunks(NamedTuple):
    """Token ids, int64 (n, 77), their weights, float32 (n, 77), and how many of them are the prompt's."""

    ids: Array
    weights: Array
    tokens: int


class PromptPair(NamedTuple):
    """Prompt and negative prompt in equally many chunks; `notes` say so where they are more than one."""

    prompt: Chunks
    negative: Chunks
    notes: tuple[str, ...] = ()


class Prompts:
    """Turns prompts into chunks of token ids, with the tokenizer in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = ClipTokenizer(folder)

    def pair(self, prompt: str, negative: str = "", weighting: str = "off") -> PromptPair:
        """Chunks of both prompts; the shorter one is filled with empty chunks.

        `weighting` is one of `WEIGHTINGS`: "on" reads brackets as weights, "off" as text, and "auto" as weights if
        either prompt states one as a number.

        Raises:
            RequestError: a prompt needs more than `MAX_CHUNKS` chunks, or a weight is out of bounds.
        """
        parsed = [parse(text) for text in (prompt, negative)]
        weigh = weighting == "on" or (weighting == "auto" and any(each.explicit for each in parsed))
        pieces = [each.checked() for each in parsed] if weigh else [(Piece(prompt, 1.0),), (Piece(negative, 1.0),)]
        tokens = [self._weighted_tokens(each) for each in pieces]
        names = ("prompt", "negative prompt")
        counts = [_chunks_of(name, len(each)) for name, each in zip(names, tokens, strict=True)]
        first, second = (self._chunked(each, max(counts)) for each in tokens)
        notes = (
            f"The {name} has {len(each)} tokens and is encoded in {count} chunks of {CHUNK - 2}."
            for name, each, count in zip(names, tokens, counts, strict=True)
            if count > 1
        )
        return PromptPair(first, second, tuple(notes))

    def _weighted_tokens(self, pieces: tuple[Piece, ...]) -> list[tuple[int, float]]:
        return [(token, piece.weight) for piece in pieces for token in self._tokenizer.ids(piece.text)]

    def _chunked(self, tokens: list[tuple[int, float]], count: int) -> Chunks:
        """Windows of 75 tokens between the marks; the rest is padded as the model was trained."""
        room = CHUNK - 2
        ids = np.full((count, CHUNK), self._tokenizer.pad, np.int64)
        weights = np.ones((count, CHUNK), np.float32)
        ids[:, 0] = self._tokenizer.start
        for row in range(count):
            window = tokens[row * room : (row + 1) * room]
            ids[row, 1 : len(window) + 1] = [token for token, _ in window]
            weights[row, 1 : len(window) + 1] = [weight for _, weight in window]
            ids[row, len(window) + 1] = self._tokenizer.end
        return Chunks(ids, weights, len(tokens))


def _chunks_of(name: str, tokens: int) -> int:
    room = CHUNK - 2
    count = max(1, -(-tokens // room))
    if count > MAX_CHUNKS:
        raise RequestError(f"The {name} has {tokens} tokens; {MAX_CHUNKS * room} is the most. Shorten it.")
    return count
