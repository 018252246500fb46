"""CLIP's byte-pair tokenizer, as it lies in the engine set, and the words that are added to it."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import AdapterError, EngineSetError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ClipTokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"
ADDED_TOKEN = {"content", "single_word", "lstrip", "rstrip", "normalized", "special"}


class ClipTokenizer:
    """Text to token ids, equal to transformers' CLIPTokenizer; `start`, `end` and `pad` are ids of marks.

    Raises:
        EngineSetError: the folder holds no CLIP tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        config = _config(folder)
        self._tokenizer = _load(folder, config)
        self.start, self.end = self._id(START), self._id(END)
        # SD1.5 pads with the end token; relatives of SD2 pad with "!".
        self.pad = self._id(_content(config.get("pad_token", END)))
        self._added = self._added_words()
        self._rows: Mapping[int, int] = {}

    def ids(self, text: str) -> list[int]:
        """The tokens of `text` without marks, however many; vectors that were added later are -1, -2, ..."""
        found = self._tokenizer.encode(self._expanded(text), add_special_tokens=False).ids
        return [self._rows.get(token, token) for token in found]

    def with_word(self, word: str, vectors: int) -> Self:
        """The same tokenizer that also knows a word of so many vectors, which go on from the last one's number.

        The word becomes `word`, `word_1`, ..., as diffusers names them (`load_textual_inversion`).

        Raises:
            AdapterError: it has the word already.
        """
        from tokenizers import Tokenizer

        words = [word, *(f"{word}_{number}" for number in range(1, vectors))]
        for each in (word, f"{word}_1"):
            if self._tokenizer.token_to_id(each) is not None:
                raise AdapterError(
                    f"The tokenizer has the word {each!r} already. Choose another one, such as '<{word}>'."
                )
        # Another one, because threads may be reading this one.
        extended = copy.copy(self)
        extended._tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        extended._tokenizer.add_tokens(words)
        numbers: Sequence[int | None] = [extended._tokenizer.token_to_id(each) for each in words]
        first = len(self._rows)
        extended._rows = {
            **self._rows,
            **{number: -1 - first - at for at, number in enumerate(numbers) if number is not None},
        }
        extended._added = extended._added_words()
        return extended

    def _expanded(self, text: str) -> str:
        """`text` with every word of several vectors followed by its further ones: "<x>" becomes "<x> <x>_1 <x>_2".

        As diffusers does (`TextualInversionLoaderMixin.maybe_convert_prompt`), on the text and not on its tokens: a
        word written in other capitals than it was added with is its first vector only.
        """
        if not any(f"{word}_1" in self._added for word in self._added):
            return text
        for word in dict.fromkeys(self._tokenizer.encode(text, add_special_tokens=False).tokens):
            if word in self._added:
                text = text.replace(word, " ".join(self._vectors_of(word)))
        return text

    def _vectors_of(self, word: str) -> list[str]:
        """`word` and, where it stands for several vectors, `word_1`, `word_2`, ..."""
        words = [word]
        while (further := f"{word}_{len(words)}") in self._added:
            words.append(further)
        return words

    def _added_words(self) -> frozenset[str]:
        return frozenset(token.content for token in self._tokenizer.get_added_tokens_decoder().values())

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise EngineSetError(f"The engine set's tokenizer lacks {token!r}: it is not a CLIP tokenizer.")
        return int(number)


def _load(folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
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
    _add_words(tokenizer, folder, config)
    return tokenizer


def _add_words(tokenizer: "Tokenizer", folder: Path, config: Mapping[str, Any]) -> None:
    """Words that were added to the vocabulary, from `added_tokens.json` and the newer `added_tokens_decoder`."""
    from tokenizers import AddedToken

    try:
        stated = {int(number): word for word, number in _read(folder / "added_tokens.json").items()}
        stated |= {int(number): word for number, word in config.get("added_tokens_decoder", {}).items()}
        for number, word in sorted(stated.items()):
            flags = word if isinstance(word, dict) else {"content": word}
            if tokenizer.token_to_id(flags["content"]) is None:
                tokenizer.add_tokens([AddedToken(**{key: flags[key] for key in flags.keys() & ADDED_TOKEN})])
            if tokenizer.token_to_id(flags["content"]) != number:
                raise ValueError(f"{flags['content']!r} cannot have the number {number}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineSetError(f"The added tokens in {folder} cannot be read: {error}. Export the set again.") from error


def _config(folder: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json; empty where there is none."""
    return _read(folder / "tokenizer_config.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        return content
    except (OSError, ValueError) as error:
        raise EngineSetError(f"{path} cannot be read: {error}. Export the engine set again.") from error


def _content(token: Any) -> str:
    """A token's text, which may be stated with its flags."""
    return str(token.get("content") if isinstance(token, dict) else token)
