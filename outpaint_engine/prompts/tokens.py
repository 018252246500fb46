"""CLIP's byte-pair tokenizer, as it lies in the engine set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineSetError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ClipTokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"


class ClipTokenizer:
    """Text to token ids, equal to transformers' CLIPTokenizer; `start`, `end` and `pad` are ids of marks.

    Raises:
        EngineSetError: the folder holds no CLIP tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _load(folder)
        self.start, self.end = self._id(START), self._id(END)
        self.pad = self._id(_pad_token(folder))

    def ids(self, text: str) -> list[int]:
        """The tokens of `text` without marks, however many."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise EngineSetError(f"The engine set's tokenizer lacks {token!r}: it is not a CLIP tokenizer.")
        return int(number)


def _load(folder: Path) -> "Tokenizer":
    """Read tokenizer.json; where an older export has none, build the same from vocab.json and merges.txt."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    try:
        if (folder / "tokenizer.json").exists():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return tokenizer
        tokenizer = Tokenizer(
            models.BPE.from_file(
                str(folder / "vocab.json"),
                str(folder / "merges.txt"),
                continuing_subword_prefix="",
                end_of_word_suffix="</w>",
                unk_token=END,
            )
        )
    except Exception as error:
        raise EngineSetError(f"The tokenizer in {folder} cannot be read: {error}") from error
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def _pad_token(folder: Path) -> str:
    """SD1.5 pads with the end token; relatives of SD2 pad with "!"."""
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return END
    try:
        token = json.loads(path.read_text(encoding="utf-8")).get("pad_token", END)
        return str(token["content"] if isinstance(token, dict) else token)
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise EngineSetError(f"{path} cannot be read: {error}. Export the engine set again.") from error
