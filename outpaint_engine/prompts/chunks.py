"""Prompts in chunks: CLIP reads 77 tokens at a time, of which 75 are the prompt's; relatives of it more or fewer.

A longer prompt is cut into windows of 75 tokens, each encoded by itself with its own start and end mark, and the
embeddings are put one after the other, as AUTOMATIC1111's web UI does (without its search for a comma to cut at).
Or it is cut off after the first window, as diffusers does.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import RequestError
from ..tensors import Array
from .tokens import ClipTokenizer
from .weights import Piece, parse

__all__ = ["CHUNK", "LONG_PROMPTS", "MAX_CHUNKS", "WEIGHTINGS", "Chunks", "PromptPair", "Prompts"]

CHUNK = 77
MAX_CHUNKS = 32
WEIGHTINGS = ("auto", "on", "off")
LONG_PROMPTS = ("chunks", "truncate")


class Chunks(NamedTuple):
    """Token ids, int64 (n, 77), their weights, float32 (n, 77), and how many of them are the prompt's.

    `mask`, int64 (n, 77), is 1 up to each chunk's end mark and 0 in the padding behind it.
    """

    ids: Array
    weights: Array
    tokens: int
    mask: Array


class PromptPair(NamedTuple):
    """Prompt and negative prompt in equally many chunks; `notes` say so where they are more than one."""

    prompt: Chunks
    negative: Chunks
    notes: tuple[str, ...] = ()


class Prompts:
    """Turns prompts into chunks of token ids, with the tokenizer in `folder`.

    `length` is what the text encoder reads at a time, marks included: 77, or what a relative of CLIP was trained at.
    """

    length = CHUNK

    def __init__(self, folder: Path, length: int = CHUNK) -> None:
        self._tokenizer = ClipTokenizer(folder)
        self.length = length

    def pair(self, prompt: str, negative: str = "", weighting: str = "off", long_prompts: str = "chunks") -> PromptPair:
        """Chunks of both prompts; the shorter one is filled with empty chunks.

        `weighting` is one of `WEIGHTINGS`: "on" reads brackets as weights, "off" as text, and "auto" as weights if
        either prompt states one as a number. `long_prompts` is one of `LONG_PROMPTS`: "truncate" leaves out what does
        not fit into one chunk.

        Raises:
            RequestError: a prompt needs more than `MAX_CHUNKS` chunks, or a weight is out of bounds.
        """
        parsed = [parse(text) for text in (prompt, negative)]
        weigh = weighting == "on" or (weighting == "auto" and any(each.explicit for each in parsed))
        pieces = [each.checked() for each in parsed] if weigh else [(Piece(prompt, 1.0),), (Piece(negative, 1.0),)]
        tokens = dict(zip(("prompt", "negative prompt"), map(self._weighted_tokens, pieces), strict=True))
        notes = []
        for name, each in tokens.items():
            if len(each) <= self.room:
                continue
            if long_prompts == "truncate":
                notes.append(
                    f"The {name} has {len(each)} tokens; the first {self.room} are read, the rest is left out."
                )
                del each[self.room :]
            else:
                count = self._chunks_of(name, len(each))
                notes.append(f"The {name} has {len(each)} tokens and is encoded in {count} chunks of {self.room}.")
        count = max(self._chunks_of(name, len(each)) for name, each in tokens.items())
        first, second = (self._chunked(each, count) for each in tokens.values())
        return PromptPair(first, second, tuple(notes))

    def with_word(self, word: str, vectors: int) -> ClipTokenizer:
        """A tokenizer that also knows `word`, for `use`; see `ClipTokenizer.with_word`."""
        return self._tokenizer.with_word(word, vectors)

    def use(self, tokenizer: ClipTokenizer) -> None:
        """Read prompts with another tokenizer from now on."""
        self._tokenizer = tokenizer

    @property
    def room(self) -> int:
        """Tokens of a prompt in one chunk: all but the two marks."""
        return self.length - 2

    def _chunks_of(self, name: str, tokens: int) -> int:
        count = max(1, -(-tokens // self.room))
        if count > MAX_CHUNKS:
            raise RequestError(f"The {name} has {tokens} tokens; {MAX_CHUNKS * self.room} is the most. Shorten it.")
        return count

    def _weighted_tokens(self, pieces: tuple[Piece, ...]) -> list[tuple[int, float]]:
        return [(token, piece.weight) for piece in pieces for token in self._tokenizer.ids(piece.text)]

    def _chunked(self, tokens: list[tuple[int, float]], count: int) -> Chunks:
        """Windows of `room` tokens between the marks; the rest is padded as the model was trained."""
        ids = np.full((count, self.length), self._tokenizer.pad, np.int64)
        weights = np.ones((count, self.length), np.float32)
        mask = np.zeros((count, self.length), np.int64)
        ids[:, 0] = self._tokenizer.start
        for row in range(count):
            window = tokens[row * self.room : (row + 1) * self.room]
            ids[row, 1 : len(window) + 1] = [token for token, _ in window]
            weights[row, 1 : len(window) + 1] = [weight for _, weight in window]
            ids[row, len(window) + 1] = self._tokenizer.end
            mask[row, : len(window) + 2] = 1
        return Chunks(ids, weights, len(tokens), mask)
