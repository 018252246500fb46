"""Prompts become the token ids that CLIP's own tokenizer gives."""

import gzip
import json
from pathlib import Path

import pytest

from outpaint_engine import EngineSetError
from outpaint_engine.prompts import Prompts

TABLE = Path(__file__).parents[3] / "shared" / "data" / "bpe_simple_vocab_16e6.txt.gz"
TINY = Path(__file__).parents[1] / "goldens" / "tiny-9" / "tokenizer"

# transformers.CLIPTokenizer.from_pretrained("openai/clip-vit-large-patch14")(text).input_ids[1:-1]
CLIP_TOKENS = {
    "": [],
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A  Photo\nof a CAT": [320, 1125, 539, 320, 2368],
    "hello world!": [3306, 1002, 256],
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Prompts:
    """CLIP's tokenizer as older exports hold it: vocab.json and merges.txt, no tokenizer.json."""
    if not TABLE.exists():
        pytest.skip(f"CLIP's byte-pair table is not at {TABLE}")
    folder = tmp_path_factory.mktemp("tokenizer")
    merges = gzip.decompress(TABLE.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    byte_values = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in byte_values]
    alphabet = [chr(value) for value in byte_values] + [chr(256 + index) for index in range(len(others))]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return Prompts(folder)


@pytest.mark.parametrize("text", CLIP_TOKENS)
def test_tokens_are_clips(clip: Prompts, text: str) -> None:
    ids = clip.encode(text)[0].tolist()
    expected = [49406, *CLIP_TOKENS[text]]
    assert ids == expected + [49407] * (77 - len(expected))


def test_a_long_prompt_is_cut_with_a_warning_that_quotes_what_is_lost(clip: Prompts) -> None:
    with pytest.warns(UserWarning, match="has 81 tokens and the model reads 75; this part is lost: 'cat cat"):
        ids = clip.encode("sea " * 74 + "cat " * 7)
    assert ids.shape == (1, 77)
    assert ids[0, -1] == 49407


def test_tokenizer_json_and_the_older_two_files_agree(tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((TINY / name).read_bytes())
    text = "the sun, the sea 42!"
    assert Prompts(tmp_path).encode(text).tolist() == Prompts(TINY).encode(text).tolist()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineSetError, match="tokenizer in .* cannot be read"):
        Prompts(tmp_path)
