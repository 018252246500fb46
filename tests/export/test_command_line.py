"""The command line: exit codes, one sentence for each refusal, and adopting a folder that Optimum made."""

import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from outpaint_export.commands.cli import main

from outpaint_engine.engine_set import MANIFEST, EngineSet, digest_of

pytestmark = pytest.mark.export


@pytest.fixture
def optimum_folder(inpainting_set: Path, tmp_path: Path) -> Path:
    """An exported folder without its manifest, and with the UNet's weights in a file beside the graph."""
    folder = Path(shutil.copytree(inpainting_set, tmp_path / "optimum"))
    (folder / MANIFEST).unlink()
    path = folder / "unet" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
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
        (["adopt", "{set}"], 2, "has a manifest already"),
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


def test_adopting_writes_the_manifest_and_nothing_else(optimum_folder: Path, inpainting_set: Path) -> None:
    before = {path: digest_of(path) for path in optimum_folder.rglob("*") if path.is_file()}
    assert main(["adopt", str(optimum_folder)]) == 0
    after = {path: digest_of(path) for path in optimum_folder.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {optimum_folder / MANIFEST}
    assert all(after[path] == digest for path, digest in before.items())
    adopted, exported = EngineSet.open(optimum_folder), EngineSet.open(inpainting_set)
    assert adopted.unet_channels == 9
    assert adopted.files == exported.files
    assert set(adopted.artifact("unet").files) == {"unet/model.onnx", "unet/model.onnx_data"}
    assert adopted.artifact("unet").inputs == exported.artifact("unet").inputs
    assert adopted.artifact("unet").precision == "fp32"
    assert adopted.artifact("unet").parity == {}


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
