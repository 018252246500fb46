"""Text encoders and tokenizers that are not quite Stable Diffusion 1.5's, read as diffusers reads them."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline
from outpaint_export.graphs.conversion import OPSET, convert
from outpaint_export.graphs.forms import write_forms
from outpaint_export.graphs.modules import TextEncoderGraph
from outpaint_export.sources.opening import open_source
from outpaint_export.sources.tokenizer_files import read_tokenizer, write_tokenizer
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from outpaint_engine import FunctionEngine
from outpaint_engine.adapters import read_embedding
from outpaint_engine.components import TextEncoder
from outpaint_engine.prompts import Prompts
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


def checkpoint(folder: Path, **changes: Any) -> Path:
    """A diffusers folder whose text encoder has `changes` in its configuration and a row for each of `WORDS`."""
    words_folder(folder / "words", "tokenizer.json")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "words")
    torch.manual_seed(5)
    config = tiny_models.text_encoder().config
    config.update({"vocab_size": len(tokenizer), **changes})
    tokenizer.model_max_length = config.max_position_embeddings
    StableDiffusionInpaintPipeline(
        vae=tiny_models.vae(),
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=tiny_models.unet(4),
        scheduler=DDIMScheduler.from_config(tiny_models.scheduler()),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "checkpoint")
    return folder / "checkpoint"


@dataclasses.dataclass(frozen=True)
class Sides:
    """Diffusers' pipeline of one checkpoint, and our prompts and graphs of its text encoder."""

    reference: StableDiffusionInpaintPipeline
    prompts: Prompts
    folder: Path

    def expected(self, prompt: str) -> np.ndarray:
        return self.reference.encode_prompt(prompt, "cpu", 1, False)[0].detach().numpy()

    def text_encoder(self, graph: str, library: str = "onnxruntime") -> TextEncoder:
        """One of the graphs as `library` runs it."""
        path = str(self.folder / "text_encoder" / f"{graph}.onnx")
        session = onnxruntime.InferenceSession(path)
        inputs = {value.name: tuple(value.shape) for value in session.get_inputs()}
        outputs = {value.name: tuple(value.shape) for value in session.get_outputs()}
        kinds = {name: "int64" for name in inputs if name != "added_embeddings"}
        if library == "onnxruntime":
            run = lambda **feeds: dict(zip(outputs, session.run(None, feeds), strict=True))  # noqa: E731
        else:
            openvino = pytest.importorskip("openvino")
            compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            run = lambda **feeds: {name: compiled(feeds)[name] for name in outputs}  # noqa: E731
        return TextEncoder(FunctionEngine(run, inputs, outputs, kinds))


def sides(folder: Path, **changes: Any) -> Sides:
    """Both sides of a checkpoint whose text encoder has `changes` in its configuration."""
    source = checkpoint(folder, **changes)
    reference = StableDiffusionInpaintPipeline.from_pretrained(source, safety_checker=None)
    opened = open_source(str(source))
    graph = TextEncoderGraph(opened.text_encoder().eval().float())  # type: ignore[arg-type]
    (folder / "text_encoder").mkdir()
    write_forms(convert(graph, "fp32", OPSET), folder / "text_encoder", "text_encoder")
    length = int(graph.config["max_position_embeddings"])
    write_tokenizer(opened.tokenizer, folder / "tokenizer", length)
    return Sides(reference, Prompts(folder / "tokenizer", length), folder)


CASES: list[Mapping[str, Any]] = [
    {"use_attention_mask": True, "max_position_embeddings": 32},
    {"max_position_embeddings": 248},
]


@pytest.mark.parametrize("changes", CASES, ids=["a mask, 32 positions", "248 positions"])
def test_a_text_encoder_is_run_as_its_configuration_says(changes: Mapping[str, Any], tmp_path: Path) -> None:
    both = sides(tmp_path, **changes)
    text_encoder = both.text_encoder("model")
    for prompt in (*PROMPTS, "the sun " * 150):
        chunks = both.prompts.pair(prompt, long_prompts="truncate").prompt
        found = text_encoder.encode(chunks.ids, None, chunks.mask)
        np.testing.assert_allclose(found, both.expected(prompt), atol=1e-5, err_msg=prompt)


def test_words_of_files_give_the_embeddings_that_diffusers_gives(tmp_path: Path) -> None:
    both = sides(tmp_path)
    draw = torch.Generator().manual_seed(3)
    vectors = torch.randn(6, tiny_models.TEXT_WIDTH, generator=draw)
    save_file({"<new>": vectors[:3].clone()}, tmp_path / "learned.safetensors")
    save_file({"<one>": vectors[3].half()}, tmp_path / "one.safetensors")
    save_file({"emb_params": vectors[4:].clone()}, tmp_path / "easy.safetensors")
    encoders = [both.text_encoder("added_words", library) for library in ("onnxruntime", "openvino")]
    for name in ("learned", "one", "easy"):
        word, rows = read_embedding(tmp_path / f"{name}.safetensors")
        both.reference.load_textual_inversion(str(tmp_path), weight_name=f"{name}.safetensors", token=word)
        both.prompts.use(both.prompts.with_word(word, len(rows)))
        for encoder in encoders:
            encoder.add_words(rows)
    for prompt in (
        "the <new>, the sea",
        "easy <one> <new> <cat>",
        "a <NEW> and easy_1",
        "<new>_2 sea " * 40,
        "sea",
        "",
    ):
        chunks = both.prompts.pair(prompt, long_prompts="truncate").prompt
        for encoder in encoders:
            np.testing.assert_allclose(encoder.encode(chunks.ids), both.expected(prompt), atol=1e-5, err_msg=prompt)
