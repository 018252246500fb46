"""Embedding files: which are read as what, and that no other changes anything."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from outpaint_engine import FunctionEngine, OutpaintPipeline
from outpaint_engine.adapters import read_embedding
from outpaint_engine.errors import AdapterError, EngineSetError
from outpaint_engine.prompts import Prompts

TOKENIZER = Path(__file__).parents[2] / "goldens" / "tiny-9" / "tokenizer"
WIDTH = 4
VECTORS = np.arange(8, dtype=np.float32).reshape(2, WIDTH) / 7


@pytest.mark.parametrize(
    ("name", "word"),
    [("<cat>", "<cat>"), ("cat", "cat"), ("emb_params", "easy"), ("clip_l", "easy"), ("string_to_param.*", "easy")],
)
@pytest.mark.parametrize("kind", ["float64", "float32", "float16"])
def test_both_layouts_are_read(name: str, word: str, kind: str, tmp_path: Path) -> None:
    save_file({name: VECTORS.astype(kind)}, tmp_path / "easy.safetensors")
    found = read_embedding(tmp_path / "easy.safetensors")
    assert found.word == word and found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, VECTORS, atol=1e-3)
    assert read_embedding(tmp_path / "easy.safetensors", "other").word == "other"


def test_bfloat16_is_read(tmp_path: Path) -> None:
    upper = (VECTORS.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = b'{"cat":{"dtype":"BF16","shape":[2,4],"data_offsets":[0,16]}}'
    (tmp_path / "cat.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + upper)
    np.testing.assert_allclose(read_embedding(tmp_path / "cat.safetensors").vectors, VECTORS, rtol=8e-3)


def test_one_vector_may_have_no_rows_and_lie_in_a_folder(tmp_path: Path) -> None:
    save_file({"<cat>": VECTORS[0]}, tmp_path / "learned_embeds.safetensors")
    assert read_embedding(tmp_path).vectors.shape == (1, WIDTH)


HOSTILE: list[tuple[Mapping[str, np.ndarray] | bytes, str]] = [
    (b"\x80\x02}q\x00.", "is not a whole safetensors file.*can run a program when they are read"),
    (b"\xff" * 200, "is not a whole safetensors file"),
    (b"", "is not a whole safetensors file"),
    ({"cat": np.zeros((2, 7), np.float32)}, "vectors of width 7 and this model's are 4 wide"),
    ({"cat": np.full((1, WIDTH), np.nan, np.float32)}, "NaN or infinity in 'cat'"),
    ({"cat": np.full((1, WIDTH), 1e300)}, "NaN or infinity in 'cat'"),
    ({"cat": np.zeros((1, WIDTH), np.int64)}, "has 'cat' as I64; expected floating-point numbers"),
    ({"cat": np.zeros((76, WIDTH), np.float32)}, "shape .76, 4.; expected 1 to 75 rows"),
    ({"cat": np.zeros((0, WIDTH), np.float32)}, "shape .0, 4.; expected 1 to 75 rows"),
    ({"cat": np.zeros((1, 1, WIDTH), np.float32)}, "shape .1, 1, 4.; expected"),
    ({"cat": np.zeros((), np.float32)}, "shape ..; expected"),
    ({}, "holds 0 tensors .none."),
    ({"a": VECTORS, "b": VECTORS}, "holds 2 tensors .'[ab]', '[ab]'.; an embedding holds one"),
    ({"clip_l": VECTORS, "clip_g": VECTORS}, "is an embedding for Stable Diffusion XL"),
    ({" ": VECTORS}, "the word ' ', which cannot be written"),
    ({"x" * 101: VECTORS}, "which cannot be written"),
    ({"a\x00b": VECTORS}, "which cannot be written"),
    ({"se": VECTORS, "string_to_token.*": VECTORS}, "has the word 'se' already. Choose another one, such as '<se>'"),
]


def words_engine(words: bool) -> FunctionEngine:
    """Embeds a token as its number, or as its vector."""

    def function(input_ids: np.ndarray, added_embeddings: np.ndarray | None = None) -> dict[str, np.ndarray]:
        known = np.repeat(input_ids[..., None] / 128, WIDTH, axis=2).astype(np.float32)
        if added_embeddings is not None:
            rows = np.vstack([added_embeddings, np.zeros((1, WIDTH))])[np.maximum(-1 - input_ids, 0)]
            known = np.where(input_ids[..., None] < 0, rows, known)
        return {"last_hidden_state": known}

    inputs: dict[str, Any] = {"input_ids": ("B", 77), **({"added_embeddings": ("n", WIDTH)} if words else {})}
    return FunctionEngine(function, inputs, {"last_hidden_state": ("B", 77, WIDTH)}, {"input_ids": "int64"})


@pytest.fixture
def pipe(toy: Callable[..., OutpaintPipeline]) -> OutpaintPipeline:
    """The toy model, with the tiny model's tokenizer and a text encoder that takes words."""
    made = toy(text=words_engine(words=True))
    made.models.text_encoder.add_words(np.zeros((0, WIDTH), np.float32))
    made.models = made.models._replace(prompts=Prompts(TOKENIZER))
    return made


def embeddings(pipe: OutpaintPipeline, prompt: str) -> np.ndarray:
    chunks = pipe.models.prompts.pair(prompt).prompt
    return pipe.models.text_encoder.encode(chunks.ids)[0, 1 : 1 + chunks.tokens]


def test_a_word_stands_for_its_vectors_and_further_words_go_on_from_there(
    pipe: OutpaintPipeline, tmp_path: Path
) -> None:
    save_file({"<cat>": VECTORS}, tmp_path / "cat.safetensors")
    save_file({"<dog>": VECTORS[1:] + 5}, tmp_path / "dog.safetensors")
    before = embeddings(pipe, "sea, the sun")
    assert pipe.load_textual_inversion(tmp_path / "cat.safetensors") == "<cat>"
    assert pipe.load_textual_inversion(str(tmp_path / "dog.safetensors")) == "<dog>"
    assert pipe.load_textual_inversion(tmp_path / "dog.safetensors", token="wolf") == "wolf"
    assert np.array_equal(embeddings(pipe, "<dog><cat> wolf"), [*VECTORS[1:] + 5, *VECTORS, *VECTORS[1:] + 5])
    assert np.array_equal(embeddings(pipe, "sea, the sun"), before)
    with pytest.raises(AdapterError, match="has the word '<cat>' already"):
        pipe.load_textual_inversion(tmp_path / "cat.safetensors")


@pytest.mark.parametrize(("content", "sentence"), HOSTILE, ids=[sentence[:40] for _, sentence in HOSTILE])
def test_a_hostile_file_is_refused_in_one_sentence_and_changes_nothing(
    content: Mapping[str, np.ndarray] | bytes,
    sentence: str,
    pipe: OutpaintPipeline,
    picture: np.ndarray,
    tmp_path: Path,
) -> None:
    asked: dict[str, Any] = {"image": picture, "width": 96, "height": 64, "num_inference_steps": 1, "seed": 1}
    before = pipe(**asked, prompt="sea cat").latents
    file = tmp_path / "bad.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file(dict(content), file)
    with pytest.raises(AdapterError, match=sentence) as caught:
        pipe.load_textual_inversion(file)
    assert "\n" not in str(caught.value)
    assert np.array_equal(pipe(**asked, prompt="sea cat").latents, before)


def test_a_truncated_file_and_one_that_is_too_large_are_refused(tmp_path: Path) -> None:
    save_file({"cat": VECTORS}, tmp_path / "cat.safetensors")
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "cat.safetensors").read_bytes()[:-1])
    with pytest.raises(AdapterError, match="is not a whole safetensors file"):
        read_embedding(tmp_path / "short.safetensors")
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(AdapterError, match="more than 16 MB, which no such adapter has"):
        read_embedding(tmp_path / "huge.safetensors")
    with pytest.raises(AdapterError, match="cannot be read: No such file"):
        read_embedding(tmp_path / "none.safetensors")


def test_a_set_whose_text_encoder_takes_no_words_says_how_to_get_one(tmp_path: Path) -> None:
    folder = tmp_path / "wordless"
    shutil.copytree(TOKENIZER.parent, folder)
    manifest = json.loads((folder / "engine_set.json").read_text())
    manifest["artifacts"] = [each for each in manifest["artifacts"] if each["graph"] != "added_words"]
    (folder / "engine_set.json").write_text(json.dumps(manifest))
    save_file({"<cat>": np.zeros((1, 32), np.float32)}, tmp_path / "wide.safetensors")
    made = OutpaintPipeline.from_pretrained(folder, device="ort-cpu")
    with made, pytest.raises(EngineSetError, match="has no onnx graph 'added_words' for text_encoder"):
        made.load_textual_inversion(tmp_path / "wide.safetensors")
