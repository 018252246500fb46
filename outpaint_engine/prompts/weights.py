r"""Prompt weights as AUTOMATIC1111's web UI writes them (its wiki, "Attention/emphasis").

`(word)` is 1.1 times the attention, `(word:1.3)` 1.3 times, `[word]` a 1.1th; brackets nest and multiply.
`\(`, `\)`, `\[`, `\]` and `\\` stand for the characters themselves. Other than there: a bracket without its
partner is text, and so is a whole number after a digit and a colon, as in (16:9) or (at 10:30).
"""

import re
from typing import NamedTuple

import numpy as np

from ..errors import RequestError
from ..tensors import Array

__all__ = ["MAX_WEIGHT", "Parsed", "Piece", "parse", "weighted"]

MAX_WEIGHT = 10.0
ROUND, SQUARE = 1.1, 1 / 1.1
OPENERS = {")": "(", "]": "["}
# Every quantifier is possessive: nothing is read twice, whatever the text.
PARTS = re.compile(r"\\[\\()\[\]]|(:\s*+([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++))\s*+)\)|[^\\()\[\]:]++|.", re.DOTALL)
NEGLIGIBLE_MEAN = 0.01


class Piece(NamedTuple):
    """Text of one weight."""

    text: str
    weight: float


class Parsed(NamedTuple):
    """A prompt in pieces; `explicit` where it holds a weight as a number."""

    pieces: tuple[Piece, ...]
    explicit: bool

    def checked(self) -> tuple[Piece, ...]:
        """The pieces.

        Raises:
            RequestError: a weight is not from 0 to `MAX_WEIGHT`.
        """
        for text, weight in self.pieces:
            if not 0 <= weight <= MAX_WEIGHT:
                raise RequestError(
                    f"The weight of {text!r:.40} is {weight:g}; weights go from 0 to {MAX_WEIGHT:g}. For a bracket "
                    r"that is text write \( and \), or set prompt_weighting to 'off'."
                )
        return self.pieces


class _Part(NamedTuple):
    """One piece of syntax or text; `number` is the weight that a closing bracket states."""

    text: str
    syntax: bool = False
    number: float | None = None


def parse(text: str) -> Parsed:
    """Split a prompt by weight, in time proportional to its length; neighbours of one weight are joined."""
    parts = _parts(text)
    factors, closing = _pairs(parts)
    pieces: list[tuple[list[str], float]] = []
    weights = [1.0]
    for index, part in enumerate(parts):
        if index in factors:
            weights.append(weights[-1] * factors[index])
        elif index in closing:
            weights.pop()
        elif pieces and pieces[-1][1] == weights[-1]:
            pieces[-1][0].append(part.text)
        else:
            pieces.append(([part.text], weights[-1]))
    explicit = any(parts[index].number is not None for index in closing)
    return Parsed(tuple(Piece("".join(texts), weight) for texts, weight in pieces), explicit)


def _parts(text: str) -> list[_Part]:
    parts = []
    for match in PARTS.finditer(text):
        found, stated, number = match.group(0, 1, 2)
        if stated is None:
            escaped = len(found) == 2 and found[0] == "\\"
            parts.append(_Part(found[1:] if escaped else found, not escaped and found in "()[]"))
        elif number.isdigit() and text[match.start() - 1 : match.start()].isdigit():
            parts += [_Part(stated), _Part(")", True)]
        else:
            parts.append(_Part(found, True, float(number)))
    return parts


def _pairs(parts: list[_Part]) -> tuple[dict[int, float], set[int]]:
    """Opening brackets that have a partner, each with its factor, and those partners."""
    opened: list[int] = []
    waiting = {"(": 0, "[": 0}
    factors: dict[int, float] = {}
    closing = set()
    for index, part in enumerate(parts):
        if not part.syntax:
            continue
        if part.text in waiting:
            opened.append(index)
            waiting[part.text] += 1
            continue
        opener = OPENERS[part.text[-1]]
        # Brackets opened since then have no partner inside this pair.
        while waiting[opener]:
            last = opened.pop()
            waiting[parts[last].text] -= 1
            if parts[last].text == opener:
                usual = ROUND if opener == "(" else SQUARE
                factors[last] = usual if part.number is None else part.number
                closing.add(index)
                break
    return factors, closing


def weighted(embeddings: Array, weights: Array) -> Array:
    """Multiply each token's embedding by its weight, and bring the mean of the whole back to what it was.

    As the web UI's "Original" emphasis does (modules/sd_emphasis.py), for one chunk at a time. A mean of next to
    nothing, as freshly initialised models have, is left alone: there is nothing to bring back.

    Args:
        embeddings: float32 (1, tokens, width).
        weights: float32 (tokens,).
    """
    if (weights == 1).all():
        return embeddings
    scaled = embeddings * weights[None, :, None]
    before, after = embeddings.mean(), scaled.mean()
    if min(abs(before), abs(after)) < NEGLIGIBLE_MEAN * embeddings.std():
        return scaled
    return scaled * np.float32(before / after)
