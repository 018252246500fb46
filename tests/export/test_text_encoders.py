"""Text encoders and tokenizers that are not quite Stable Diffusion 1.5's, read as diffusers reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import StableDiffusionInpaintPipeline
from outpaint_export.sources.tokenizer_files import read_tokenizer, write_tokenizer
from transformers import CLIPTokenizer

from outpaint_engine.prompts.tokens import ClipTokenizer

from . import tiny_models

pytestmark = pytest.mark.export

WORDS = ["<cat>", "<cat>_1", "<cat>_2", "<dog>", "Sun-Tan", "Sun-Tan_1"]
PROMPTS = (
    "the <cat>, the sea", "<cat><dog> <cat>", "a <CAT> and <dog>_1", "<cat>_1 sea", "sun-tan Sun-Tan", "the sea", "",
)  # fmt: skip


def words_folder(folder: Path, layout: str) -> Path:
    """The tiny tokenizer with `WORDS`, as transformers writes it now ("tokenizer.json") or wrote it before."""
    tokenizer = CLIPTokenizer.from_pretrained(tiny_models.tokenizer_files(folder))
    tokenizer.add_tokens(WORDS)
    if layout == "tokenizer.json":
        tokenizer.save_pretrained(folder)
    else:
        (folder / "added_tokens.json").write_text(json.dumps({word: tokenizer.get_vocab()[word] for word in WORDS}))
    return folder


@pytest.mark.parametrize("layout", ["tokenizer.json", "added_tokens.json"])
@pytest.mark.parametrize("written", [True, False], ids=["exported", "as it was"])
def test_words_of_several_vectors_are_expanded_as_diffusers_does(layout: str, written: bool, tmp_path: Path) -> None:
    folder = words_folder(tmp_path / "theirs", layout)
    theirs = CLIPTokenizer.from_pretrained(folder)
    if written:
        write_tokenizer(read_tokenizer(folder), tmp_path / "ours", 77)
        stated = json.loads((tmp_path / "ours" / "added_tokens.json").read_text())
        assert stated == {word: theirs.get_vocab()[word] for word in WORDS}
    ours = ClipTokenizer(tmp_path / "ours" if written else folder)
    expand = StableDiffusionInpaintPipeline.maybe_convert_prompt
    converter: Any = StableDiffusionInpaintPipeline.__new__(StableDiffusionInpaintPipeline)
    for prompt in PROMPTS:
        expected = theirs(expand(converter, prompt, theirs), add_special_tokens=False).input_ids
        assert ours.ids(prompt) == expected, prompt
    assert len(ours.ids("<cat>")) == 3
