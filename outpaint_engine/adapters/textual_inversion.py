"""Textual inversion: a word and its vectors, which stand where rows of CLIP's token table would (Gal et al. 2022).

The layouts are those that diffusers (`TextualInversionLoaderMixin.load_textual_inversion`) and AUTOMATIC1111's web UI
(modules/textual_inversion, `create_embedding_from_data`) read, as far as they are safetensors:

| tensor | word |
|---|---|
| one, of any other name (diffusers) | that name |
| `emb_params`, `clip_l`, `*` or `string_to_param.*` (the web UI, kohya's trainer) | the file's name |
"""

from pathlib import Path
from typing import NamedTuple

from ..errors import AdapterError
from ..tensors import Array
from .weights_file import read_weights

__all__ = ["Embedding", "read_embedding"]

NAMELESS = ("emb_params", "clip_l", "*", "string_to_param", "string_to_param.*")
COMPANIONS = ("string_to_token", "string_to_token.*")
"""What the web UI writes beside the vectors, and nobody reads."""
OTHER_MODEL = "clip_g"
IN_A_FOLDER = "learned_embeds.safetensors"
"""What diffusers' training script calls its file."""
MOST_BYTES, MOST_VECTORS, LONGEST_WORD = 16_000_000, 75, 100


class Embedding(NamedTuple):
    """A word and its vectors, float32 (n, width)."""

    word: str
    vectors: Array


def read_embedding(path: str | Path, word: str | None = None) -> Embedding:
    """The embedding in a file, or in a folder as diffusers' trainer leaves it; `word` replaces the file's own.

    Raises:
        AdapterError: the file is missing, damaged, no safetensors, or no embedding; the message says which.
    """
    file = Path(path) / IN_A_FOLDER if Path(path).is_dir() else Path(path)
    weights = {name: value for name, value in read_weights(file, MOST_BYTES).items() if name not in COMPANIONS}
    if OTHER_MODEL in weights:
        raise AdapterError(f"{file} is an embedding for Stable Diffusion XL. Give one for Stable Diffusion 1.5.")
    if len(weights) != 1:
        named = ", ".join(f"{name!r:.40}" for name in list(weights)[:3]) or "none"
        raise AdapterError(
            f"{file} holds {len(weights)} tensors ({named}); an embedding holds one. Give a file of textual inversion."
        )
    name, vectors = next(iter(weights.items()))
    if (
        vectors.ndim not in (1, 2)
        or not vectors.size
        or len(rows := vectors.reshape(-1, vectors.shape[-1])) > MOST_VECTORS
    ):
        raise AdapterError(
            f"{file} has vectors of shape {list(vectors.shape)}; expected 1 to {MOST_VECTORS} rows. Give another file."
        )
    chosen = (file.stem if name in NAMELESS else name) if word is None else word
    if not chosen.strip() or len(chosen) > LONGEST_WORD or not chosen.isprintable():
        raise AdapterError(
            f"{file} is for the word {chosen!r:.40}, which cannot be written. Give one of 1 to {LONGEST_WORD} letters."
        )
    return Embedding(chosen, rows)
