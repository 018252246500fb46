"""Engine sets with random weights: marked as such, the same every time, and calm enough for float16."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from outpaint_export.graphs.modules import PartGraph, TextEncoderGraph, UnetGraph, VaeDecoderGraph, VaeEncoderGraph
from outpaint_export.sources import sd15
from outpaint_export.sources.synthetic import byte_tokenizer, synthetic_sources
from outpaint_export.sources.tokenizer_files import write_tokenizer

from outpaint_engine import EngineSet, OutpaintPipeline
from outpaint_engine.engine_set import MANIFEST
from outpaint_engine.prompts.tokens import ClipTokenizer

pytestmark = pytest.mark.export


def test_the_manifest_says_that_a_set_is_synthetic(synthetic_set: Path, inpainting_set: Path) -> None:
    source = json.loads((synthetic_set / MANIFEST).read_text())["source"]
    assert source == {"name": "synthetic tiny: random weights", "revision": "", "license": "", "synthetic": True}
    assert EngineSet.open(synthetic_set).synthetic
    assert not EngineSet.open(inpainting_set).synthetic


def test_a_run_says_that_its_picture_means_nothing(synthetic_set: Path) -> None:
    picture = np.full((64, 64, 3), 99, np.uint8)
    with OutpaintPipeline.from_pretrained(synthetic_set, device="cpu") as pipe:
        result = pipe(image=picture, width=128, height=64, prompt="a beach", num_inference_steps=2)
    assert any("synthetic tiny" in note and "means nothing" in note for note in result.notes)
    assert result.images[0].size == (128, 64)


def test_the_weights_are_the_same_every_time_and_torchs_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, second = (synthetic_sources("tiny", 9).unet().state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("graph", [TextEncoderGraph, UnetGraph, VaeEncoderGraph, VaeDecoderGraph])
def test_every_part_answers_with_numbers_in_float16(graph: type[PartGraph]) -> None:
    sources = synthetic_sources("tiny", 9)
    module = {"text_encoder": sources.text_encoder, "unet": sources.unet}.get(graph.part, sources.vae)()
    part = graph(module).eval().half()
    with torch.no_grad():
        feeds = [feed.half() if feed.is_floating_point() else feed for feed in part.feeds()[0]]
        answers = part(*feeds)
    for answer in answers if isinstance(answers, tuple) else (answers,):
        assert answer.isfinite().all()
        assert 0.01 < answer.abs().max() < 1000


def test_the_tokenizer_has_clips_size_and_marks_and_a_token_for_every_letter(tmp_path: Path) -> None:
    rows = sd15.TEXT_ENCODER["vocab_size"]
    write_tokenizer(byte_tokenizer(rows), tmp_path / "tokenizer", 77)
    tokenizer = ClipTokenizer(tmp_path / "tokenizer")
    assert (tokenizer.start, tokenizer.end) == (sd15.TEXT_ENCODER["bos_token_id"], sd15.TEXT_ENCODER["eos_token_id"])
    assert len(tokenizer.ids("A beach, 1920")) == len("abeach,1920")
    assert len(byte_tokenizer(rows)) == rows
