"""The command line: exit codes, one sentence for each refusal, and adopting a folder that Optimum made."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from outpaint_export.commands.cli import main

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engine_set import MANIFEST, PARITY, PARTS, EngineSet
from outpaint_engine.engine_set.weights import read_weight, stored_weights

pytestmark = pytest.mark.export
VERSION_1 = Path(__file__).parents[1] / "goldens" / "tiny-4"
OPTIONAL = ("safety_checker", "tiny_decoder")


@pytest.fixture
def optimum_folder(inpainting_set: Path, tmp_path: Path) -> Path:
    """An exported folder without its manifest, and with the UNet's weights in a file beside the graph."""
    folder = Path(shutil.copytree(inpainting_set, tmp_path / "optimum"))
    (folder / MANIFEST).unlink()
    # Which Optimum does not export.
    for part in OPTIONAL:
        shutil.rmtree(folder / part)
    for part in PARTS:
        path = folder / part / "model.onnx"
        model = onnx.load(path)
        del model.graph.output[1 if part == "unet" else len(model.graph.output) :]
        for other in (*path.parent.glob("*.onnx*"), path.parent / "weights.json"):
            other.unlink()
        beside = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 256}
        onnx.save(model, path, **(beside if part == "unet" else {}))
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["onnx", "model.ckpt", "out"], 5, "pickle"),
        (["onnx", "nowhere to be found", "out"], 5, "There is no folder or file"),
        (["onnx", "{checkpoint}", "no/such/out"], 2, "Make it first"),
        (["onnx", "{set}", "out"], 5, "outpaint-export adopt"),
        (["onnx", "{checkpoint}", "out", "--precision", "int8"], 2, "fp32"),
        (["adopt", "nowhere"], 2, "nowhere"),
        (["adopt", "{set}"], 2, "has a manifest of this version already"),
        (["adopt", "{checkpoint}"], 4, "is missing"),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    checkpoint: Path,
    inpainting_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [argument.format(checkpoint=checkpoint, set=inpainting_set) for argument in arguments]
    assert main(given) == code
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_torch() -> None:
    program = (
        "import sys; from outpaint_export.commands.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_an_adopted_folder_is_what_an_export_writes(optimum_folder: Path, inpainting_set: Path) -> None:
    assert main(["adopt", str(optimum_folder)]) == 0
    files = {path.relative_to(optimum_folder) for path in optimum_folder.rglob("*")}
    written = {path.relative_to(inpainting_set) for path in inpainting_set.rglob("*")}
    assert files == {path for path in written if path.parts[0] not in OPTIONAL}
    adopted, exported = EngineSet.open(optimum_folder), EngineSet.open(inpainting_set)
    assert adopted.unet_channels == 9
    assert set(adopted.artifact("unet").files) == {"unet/model.onnx", "unet/model.onnx_data"}
    of_four_parts = [artifact for artifact in exported.artifacts if artifact.part in PARTS]
    for given, expected in zip(adopted.artifacts, of_four_parts, strict=True):
        assert replace(given, files={}, parity={}) == replace(expected, files={}, parity={})
        assert given.parity["max_rel_error"] < 1e-5
        names = [dict(stored_weights(engines, given.part)) for engines in (adopted, exported)]
        # Without the module, weights whose biases are one and the same, as a new model's zeros, cannot all be told.
        assert names[0] and names[0].keys() <= names[1].keys()
        for name, stored in names[0].items():
            np.testing.assert_array_equal(read_weight(stored), read_weight(names[1][name]))


def test_optional_parts_are_adopted_with_the_rest_and_half_a_safety_checker_is_refused(
    inpainting_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(inpainting_set, tmp_path / "set"))
    (folder / MANIFEST).unlink()
    concepts = folder / "safety_checker" / "concepts.safetensors"
    content = concepts.read_bytes()
    concepts.unlink()
    assert main(["adopt", str(folder)]) == 4
    assert "safety_checker/concepts.safetensors is missing. Remove safety_checker" in capsys.readouterr().err
    concepts.write_bytes(content)
    assert main(["adopt", str(folder)]) == 0
    for part in OPTIONAL:
        given, expected = (EngineSet.open(each).artifact(part) for each in (folder, inpainting_set))
        assert replace(given, files={}, parity={}) == replace(expected, files={}, parity={})
        assert given.parity["max_rel_error"] < 1e-5


def test_a_set_of_version_1_gives_the_same_latents_before_and_after(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(VERSION_1, tmp_path / "set"))
    (folder / PARITY).write_text(json.dumps({"engine_set": EngineSet.open(folder).digest, "kept": True}))
    request = {"image": np.full((64, 64, 3), 200, np.uint8), "prompt": "sea", "width": 96, "height": 64, "seed": 1}
    latents = []
    for adopted in (False, True):
        if adopted:
            assert main(["adopt", str(folder)]) == 0
        with OutpaintPipeline.from_pretrained(folder, device="cpu") as pipe:
            latents.append(pipe(**request, num_inference_steps=4).latents)
    np.testing.assert_allclose(latents[1], latents[0], atol=1e-4)
    after = EngineSet.open(folder)
    assert after.artifact("unet").parity["rewritten"]["max_rel_error"] < 1e-5
    assert after.parity["rewritten"]["max_rel_error"] < 1e-5


def test_a_graph_that_draws_random_numbers_is_not_adopted(
    optimum_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = optimum_folder / "vae_encoder" / "model.onnx"
    model = onnx.load(path)
    model.graph.output[0].name = "latent_sample"
    onnx.save(model, path)
    assert main(["adopt", str(optimum_folder)]) == 4
    assert "gives latent_sample; expected sample and latent_parameters" in capsys.readouterr().err
    assert not (optimum_folder / MANIFEST).exists()


@pytest.mark.parametrize(
    ("relative", "content", "message"),
    [
        ("unet/model.onnx_data", None, "model.onnx_data is missing"),
        ("unet/model.onnx", b"not a graph", "is not an ONNX file"),
        ("unet/config.json", b'{"in_channels": 4, "sample_size": 16}', "takes 9 channels and config.json says 4"),
        ("unet/config.json", b"{}", "lack or misstate 'in_channels'"),
        ("tokenizer/tokenizer.json", None, None),
    ],
)
def test_a_broken_folder_is_not_adopted(
    relative: str, content: bytes | None, message: str | None, optimum_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (optimum_folder / relative).unlink() if content is None else (optimum_folder / relative).write_bytes(content)
    assert main(["adopt", str(optimum_folder)]) == (4 if message else 0)
    assert (message or "") in capsys.readouterr().err
