"""Prompts become the token ids that CLIP's own tokenizer gives, in chunks of 77."""

import json
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineSetError, RequestError
from outpaint_engine.prompts import Prompts
from outpaint_engine.prompts.tokens import ClipTokenizer

from ...clip_table import clip_files
from ...varied_prompts import varied_prompts

GOLDENS = Path(__file__).parents[2] / "goldens"
TINY = GOLDENS / "tiny-9" / "tokenizer"
START, END = 49406, 49407


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's tokenizer as older exports hold it: vocab.json and merges.txt, no tokenizer.json."""
    return clip_files(tmp_path_factory.mktemp("tokenizer"))


def test_tokens_are_those_that_transformers_gave(folder: Path) -> None:
    recorded = json.loads((GOLDENS / "clip_tokens.json").read_text(encoding="utf-8"))
    tokenizer = ClipTokenizer(folder)
    assert [tokenizer.ids(text) for text in varied_prompts(len(recorded))] == recorded


def test_a_short_prompt_is_one_chunk_between_the_marks_and_padded(folder: Path) -> None:
    chunks = Prompts(folder).pair("A  Photo\nof a CAT").prompt
    assert chunks.ids.tolist() == [[START, 320, 1125, 539, 320, 2368, *[END] * 71]]
    assert chunks.ids.dtype == np.int64 and chunks.weights.tolist() == [[1.0] * 77]


@pytest.mark.parametrize(("words", "chunks"), [(0, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_a_long_prompt_is_cut_into_windows_of_75_tokens(folder: Path, words: int, chunks: int) -> None:
    pair = Prompts(folder).pair("sea " * words)
    assert pair.prompt.ids.shape == (chunks, 77)
    assert (pair.prompt.ids[:, 0] == START).all() and (pair.prompt.ids[:, 76] == END).all()
    assert (pair.prompt.ids == 2102).sum() == words == pair.prompt.tokens
    expected = (f"The prompt has {words} tokens and is encoded in {chunks} chunks of 75.",) if chunks > 1 else ()
    assert pair.notes == expected


def test_the_shorter_of_two_prompts_is_filled_with_empty_chunks(folder: Path) -> None:
    prompts = Prompts(folder)
    pair = prompts.pair("sea", "blurry " * 80)
    assert pair.prompt.ids.shape == pair.negative.ids.shape == (2, 77)
    assert np.array_equal(pair.prompt.ids[1:], prompts.pair("").prompt.ids)
    assert pair.notes == ("The negative prompt has 80 tokens and is encoded in 2 chunks of 75.",)


def test_a_truncated_prompt_is_its_first_75_tokens_and_says_so(folder: Path) -> None:
    pair = Prompts(folder).pair("sea " * 80, "(blurry:1.2) " * 76, "auto", "truncate")
    assert pair.prompt.ids.shape == pair.negative.ids.shape == (1, 77)
    assert (pair.prompt.ids == 2102).sum() == 75 and pair.prompt.ids[0, 76] == END
    assert pair.notes == (
        "The prompt has 80 tokens; the first 75 are read, the rest is left out.",
        "The negative prompt has 76 tokens; the first 75 are read, the rest is left out.",
    )


@pytest.mark.parametrize(("length", "words", "chunks"), [(32, 30, 1), (32, 31, 2), (248, 246, 1), (248, 247, 2)])
def test_chunks_are_as_long_as_the_text_encoder_reads(folder: Path, length: int, words: int, chunks: int) -> None:
    assert Prompts(folder, length).pair("sea " * words).prompt.ids.shape == (chunks, length)


def test_the_mask_ends_with_each_chunks_end_mark(folder: Path) -> None:
    pair = Prompts(folder).pair("sea " * 77, "sun")
    assert pair.prompt.mask.sum(axis=1).tolist() == [77, 4]
    assert pair.negative.mask.sum(axis=1).tolist() == [3, 2]


def added(folder: Path, words: dict[str, int]) -> Path:
    """A copy of the tiny tokenizer's older two files, and of the words that were added to it."""
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    (folder / "added_tokens.json").write_text(json.dumps(words))
    return folder


def test_a_word_of_several_vectors_is_followed_by_its_further_ones(tmp_path: Path) -> None:
    size = len(json.loads((TINY / "vocab.json").read_text()))
    words = {"<cat>": size, "<cat>_1": size + 1, "<cat>_2": size + 2, "<dog>": size + 3}
    tokenizer = ClipTokenizer(added(tmp_path / "words", words))
    assert tokenizer.ids("<cat>") == [size, size + 1, size + 2]
    sea = ClipTokenizer(TINY).ids("sea")
    assert tokenizer.ids("sea <cat> sea<dog>") == [*sea, size, size + 1, size + 2, *sea, size + 3]
    # The text is changed and not the tokens, as in diffusers: other capitals are one vector.
    assert tokenizer.ids("<CAT>") == [size]
    assert tokenizer.ids("sea") == sea


def test_an_added_word_that_cannot_have_its_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineSetError, match="'<cat>' cannot have the number 7"):
        ClipTokenizer(added(tmp_path / "words", {"<cat>": 7}))


def test_a_prompt_beyond_32_chunks_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="The prompt has 2401 tokens; 2400 is the most. Shorten it."):
        Prompts(folder).pair("sea " * 2401)


@pytest.mark.parametrize(
    ("weighting", "prompt", "negative", "weights"),
    [
        ("auto", "sea (sun:1.5)", "", [1, 1, 1.5, 1]),
        ("auto", "sea (sun)", "(blurry:1.2)", [1, 1, 1.1, 1]),
        ("auto", "sea (sun)", "", [1] * 6),
        ("on", "sea (sun)", "", [1, 1, 1.1, 1]),
        ("off", "sea (sun:1.5)", "", [1] * 10),
    ],
)
def test_brackets_are_weights_only_when_asked_for_or_when_one_states_a_number(
    folder: Path, weighting: str, prompt: str, negative: str, weights: list[float]
) -> None:
    chunks = Prompts(folder).pair(prompt, negative, weighting).prompt
    assert chunks.tokens == len(weights) - 2
    assert chunks.weights[0, : len(weights)] == pytest.approx(weights)


def test_brackets_that_are_text_are_tokenised_as_they_stand(folder: Path) -> None:
    prompts = Prompts(folder)
    text = r"a \(smile\) (:-) [x"
    assert np.array_equal(prompts.pair(text, weighting="auto").prompt.ids, prompts.pair(text).prompt.ids)


def test_tokenizer_json_and_the_older_two_files_agree(tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((TINY / name).read_bytes())
    for text in ("the sun, the sea 42!", "sea <|endoftext|> sun"):
        assert ClipTokenizer(tmp_path).ids(text) == ClipTokenizer(TINY).ids(text)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineSetError, match="tokenizer in .* cannot be read"):
        Prompts(tmp_path)
