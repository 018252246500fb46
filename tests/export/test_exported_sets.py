"""What an exported set holds, and that its graphs answer for batches and sizes they were not traced with."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from outpaint_export.graphs.conversion import OPSET, convert
from outpaint_export.graphs.forms import write_forms
from outpaint_export.graphs.modules import TextEncoderGraph
from outpaint_export.parity.graphs import BOUNDS
from outpaint_export.sources.tokenizer_files import read_tokenizer
from PIL import Image
from tokenizers import Tokenizer

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engine_set.weights import read_weight, stored_weights
from outpaint_engine.errors import EngineSetError

from . import tiny_models

pytestmark = pytest.mark.export

SETS = pytest.mark.parametrize(
    ("name", "channels", "precision"),
    [("inpainting_set", 9, "fp32"), ("plain_set", 4, "fp16-weights"), ("half_set", 9, "fp16")],
)


def run(folder: Path, part: str, **feeds: Any) -> Any:
    session = onnxruntime.InferenceSession(str(folder / part / "model.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@SETS
def test_the_runtime_opens_the_set_and_reads_its_facts(
    name: str, channels: int, precision: str, request: pytest.FixtureRequest
) -> None:
    engines = EngineSet.open(request.getfixturevalue(name))
    assert engines.unet_channels == channels
    assert engines.latent_scale == 0.18215
    assert engines.latent_factor == 8
    assert engines.native_size == 16 * 8
    assert engines.prediction_type == "epsilon"
    assert engines.scheduler["steps_offset"] == 1
    parts = [artifact.part for artifact in engines.artifacts if artifact.file.endswith("/model.onnx")]
    assert parts == [*PARTS, *(["tiny_decoder", "safety_checker"] if name != "plain_set" else [])]
    assert engines.graphs("unet") == {"model", "shallow"}


@SETS
def test_the_parity_of_every_part_is_measured_and_within_its_bound(
    name: str, channels: int, precision: str, request: pytest.FixtureRequest
) -> None:
    for artifact in EngineSet.open(request.getfixturevalue(name)).artifacts:
        if artifact.backends == ("ort-cuda",):
            # Its operators run on a GPU only; test_cuda_graphs compares it with kernels written out.
            continue
        cases = artifact.parity["cases"]
        if artifact.graph == "added_words" or artifact.part == "safety_checker":
            assert artifact.parity["max_rel_error"] <= BOUNDS[precision]
            continue
        if artifact.graph == "shallow":
            assert artifact.parity["max_rel_error"] <= 1e-6 and artifact.parity["reference"].startswith("model")
            continue
        assert 0 < artifact.parity["max_rel_error"] <= BOUNDS[precision]
        small = [next(iter(case["shapes"].values()))[0] for case in cases[:3]]
        assert sorted(small) == [1, 2, 3]
        pictures = [] if artifact.part == "text_encoder" else ["flat", "half masked", "random"] * 2
        assert [case["picture"] for case in cases[3:]] == pictures


def test_flat_and_masked_pictures_are_within_the_bound_at_the_native_size_and_twice_that(inpainting_set: Path) -> None:
    encoder = EngineSet.open(inpainting_set).artifact("vae_encoder")
    cases = [case for case in encoder.parity["cases"] if case["picture"] in ("flat", "half masked")]
    assert {case["shapes"]["sample"][-1] for case in cases} == {128, 256}
    assert all(case["max_rel_error"] < 1e-4 for case in cases)


def test_attention_is_one_operator_and_group_normalisation_takes_two_passes(inpainting_set: Path) -> None:
    engines = EngineSet.open(inpainting_set)
    operators = {part: engines.artifact(part).parity["operators"] for part in PARTS}
    # Two tiny text layers; self- and cross-attention of the UNet's three attention blocks and its middle block.
    assert operators["text_encoder"]["Attention"] == 2
    assert operators["unet"]["Attention"] == 8
    assert operators["unet"]["GroupNormalization"] == 0
    blocks = engines.artifact("unet", backend="ort-cpu").parity["operators"]
    assert (blocks["Attention"], blocks["MultiHeadAttention"]) == (0, 8)


def test_inputs_and_outputs_are_named_as_optimum_names_them(inpainting_set: Path) -> None:
    unet = EngineSet.open(inpainting_set).artifact("unet")
    assert unet.opset == 23
    assert [dict(item) for item in unet.inputs] == [
        {"name": "sample", "dtype": "float32", "shape": ["batch_size", 9, "height", "width"]},
        {"name": "timestep", "dtype": "float32", "shape": ["batch_size"]},
        {"name": "encoder_hidden_states", "dtype": "float32", "shape": ["batch_size", "sequence_length", 32]},
    ]
    assert [dict(item) for item in unet.outputs] == [
        {"name": "out_sample", "dtype": "float32", "shape": ["batch_size", 4, "height", "width"]},
        {"name": "deep_features", "dtype": "float32", "shape": ["batch_size", 16, "height", "width"]},
    ]


@pytest.mark.parametrize(("batch", "height", "width", "tokens"), [(1, 8, 8, 77), (4, 13, 21, 77), (5, 2, 30, 154)])
def test_the_unet_takes_any_batch_size_and_length(
    batch: int, height: int, width: int, tokens: int, inpainting_set: Path
) -> None:
    rng = np.random.default_rng(5)
    sample = rng.standard_normal((batch, 9, height, width), np.float32)
    timestep = rng.uniform(0, 999, batch).astype(np.float32)
    text = rng.standard_normal((batch, tokens, tiny_models.TEXT_WIDTH), np.float32)
    answer = run(inpainting_set, "unet", sample=sample, timestep=timestep, encoder_hidden_states=text)
    with torch.no_grad():
        expected = tiny_models.unet(9)(*map(torch.from_numpy, (sample, timestep, text))).sample.numpy()
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_one_timestep_serves_all_rows_as_optimum_feeds_it(inpainting_set: Path) -> None:
    rng = np.random.default_rng(6)
    feeds = {
        "sample": rng.standard_normal((2, 9, 8, 8), np.float32),
        "encoder_hidden_states": rng.standard_normal((2, 77, tiny_models.TEXT_WIDTH), np.float32),
    }
    one = run(inpainting_set, "unet", timestep=np.float32([500]), **feeds)
    np.testing.assert_array_equal(one, run(inpainting_set, "unet", timestep=np.float32([500, 500]), **feeds))


def test_the_vae_encoder_answers_the_same_on_every_call(inpainting_set: Path) -> None:
    picture = np.random.default_rng(7).uniform(-1, 1, (1, 3, 40, 72)).astype(np.float32)
    moments = run(inpainting_set, "vae_encoder", sample=picture)
    assert moments.shape == (1, 8, 5, 9)
    np.testing.assert_array_equal(moments, run(inpainting_set, "vae_encoder", sample=picture))


def test_graphs_carry_nothing_of_the_machine_that_made_them(inpainting_set: Path, checkpoint: Path) -> None:
    for part in PARTS:
        content = (inpainting_set / part / "model.onnx").read_bytes() + (
            inpainting_set / part / "config.json"
        ).read_bytes()
        assert b"site-packages" not in content
        assert str(checkpoint).encode() not in content


def test_float16_weights_halve_the_files_and_keep_float32_inputs(plain_set: Path) -> None:
    weights = sum(weight.numel() for weight in tiny_models.unet(4).parameters())
    graph = onnx.load(plain_set / "unet" / "model.onnx").graph
    stored = sum(len(tensor.raw_data) for tensor in graph.initializer)
    # Two bytes a number instead of four, but for tensors of fewer than 1024 numbers.
    assert 2 * weights <= stored < 2.3 * weights
    unet = EngineSet.open(plain_set).artifact("unet")
    assert unet.precision == "fp16-weights"
    assert unet.inputs[0]["dtype"] == "float32"


def test_a_set_in_float16_computes_in_it_takes_float32_and_paints_nearly_the_same(
    half_set: Path, inpainting_set: Path
) -> None:
    unet = EngineSet.open(half_set).artifact("unet")
    assert (unet.precision, unet.inputs[0]["dtype"]) == ("fp16", "float32")
    request = {"image": Image.new("RGB", (64, 64), "teal"), "prompt": "the sea", "width": 128, "height": 64, "seed": 1}
    results = []
    for folder in (half_set, inpainting_set):
        with OutpaintPipeline.from_pretrained(folder, device="cpu") as pipe:
            results.append(pipe(**request, num_inference_steps=4))
    half, full = results
    assert (half.precision, full.precision) == ("fp16", "fp32")
    assert 0 < np.abs(half.latents - full.latents).max() < 2e-2 * np.abs(full.latents).max()


def test_the_tokenizer_gives_the_ids_that_the_checkpoint_gives(inpainting_set: Path, checkpoint: Path) -> None:
    text = "the sun, the sea 42!"
    runtime = Tokenizer.from_file(str(inpainting_set / "tokenizer" / "tokenizer.json"))
    assert runtime.encode(text).ids == read_tokenizer(checkpoint / "tokenizer")(text).input_ids
    written = inpainting_set / "tokenizer"
    assert json.loads((written / "vocab.json").read_text()) == tiny_models.vocabulary()
    assert (written / "merges.txt").read_text() == (checkpoint / "tokenizer" / "merges.txt").read_text()
    assert json.loads((written / "tokenizer_config.json").read_text())["model_max_length"] == 77


@pytest.mark.parametrize("relative", ["unet/model.onnx", "vae_decoder/config.json", "tokenizer/tokenizer.json"])
def test_one_flipped_byte_is_noticed(relative: str, inpainting_set: Path, tmp_path: Path) -> None:
    shutil.copytree(inpainting_set, tmp_path / "set")
    damaged = tmp_path / "set" / relative
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(EngineSetError, match=relative):
        EngineSet.open(tmp_path / "set")


def test_every_weight_is_in_the_weights_file_as_the_module_has_it(plain_set: Path, inpainting_set: Path) -> None:
    modules = {"text_encoder": tiny_models.text_encoder(), "unet": tiny_models.unet(9)}
    for part, module in modules.items():
        stored = stored_weights(EngineSet.open(inpainting_set), part)
        weights = {name.removeprefix("text_model."): weight for name, weight in module.state_dict().items()}
        assert set(stored) == {name for name in weights if "position_ids" not in name}
        for name, weight in stored.items():
            np.testing.assert_array_equal(read_weight(weight), weights[name].numpy())
    assert {weight.dtype for weight in stored_weights(EngineSet.open(plain_set), "unet").values()} == {
        "float16",
        "float32",
    }


def test_converting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        model = convert(TextEncoderGraph(tiny_models.text_encoder()).eval(), "fp16-weights", OPSET)
        write_forms(model, tmp_path / name, "text_encoder")
    for file in ("model.onnx", "model.onnx_data", "weights.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
