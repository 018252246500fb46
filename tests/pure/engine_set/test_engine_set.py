"""Opening an engine set: what is missing, damaged or outside the folder is named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from outpaint_engine import EngineSet, EngineSetError
from outpaint_engine.engine_set import MANIFEST, PARITY

TINY = Path(__file__).parents[2] / "goldens" / "tiny-9"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "set"))


def edited(folder: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_set_states_its_facts() -> None:
    opened = EngineSet.open(TINY)
    assert (opened.unet_channels, opened.latent_factor, opened.prediction_type) == (9, 8, "epsilon")
    assert opened.artifact("unet").file == "unet/model.onnx"
    assert len(opened.digest) == 64


@pytest.mark.parametrize(
    ("tokenizer", "positions", "length"),
    [
        (77, 77, 77),
        (77, 248, 77),
        (248, 248, 248),
        (77, 32, 32),
        (10**30, 248, 248),
        (10**30, None, 77),
        (None, 77, 77),
    ],
)
def test_how_many_tokens_are_read_is_what_the_configs_say(
    tokenizer: int | None, positions: int | None, length: int, copy: Path
) -> None:
    for file, key, value in (
        ("tokenizer/tokenizer_config.json", "model_max_length", tokenizer),
        ("text_encoder/config.json", "max_position_embeddings", positions),
    ):
        (copy / file).write_text(json.dumps({} if value is None else {key: value}))
    assert EngineSet.open(copy, verify=False).text_length == length


def test_a_text_encoder_without_room_for_a_word_is_refused(copy: Path) -> None:
    (copy / "text_encoder" / "config.json").write_text('{"max_position_embeddings": 2}')
    with pytest.raises(EngineSetError, match="a text encoder of 2 tokens has no room for a prompt"):
        assert EngineSet.open(copy, verify=False).text_length


def test_a_missing_folder_is_named_with_the_remedy() -> None:
    with pytest.raises(EngineSetError, match="no engine set at 'nowhere'.*outpaint-export onnx"):
        EngineSet.open("nowhere")


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_encoder", "vae_decoder"])
def test_one_flipped_byte_in_any_engine_is_noticed(copy: Path, part: str) -> None:
    path = copy / part / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineSetError, match=rf"{part}/model.onnx is not the file that was exported"):
        EngineSet.open(copy)


def test_a_missing_engine_is_named(copy: Path) -> None:
    (copy / "unet" / "model.onnx").unlink()
    with pytest.raises(EngineSetError, match=r"unet/model.onnx is missing"):
        EngineSet.open(copy)


def test_a_link_is_refused(copy: Path, tmp_path: Path) -> None:
    path = copy / "unet" / "model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(EngineSetError, match="is a link"):
        EngineSet.open(copy)


def hub_cache(copy: Path, root: Path) -> Path:
    """The set as `huggingface_hub` keeps it: links of a snapshot to files named by their content."""
    repository = root / "models--somebody--set"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    for number, path in enumerate(path for path in copy.rglob("*") if path.is_file()):
        place = snapshot / path.relative_to(copy)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(repository / "blobs" / f"{number:064x}")
        place.symlink_to(os.path.relpath(repository / "blobs" / f"{number:064x}", place.parent))
    return snapshot


def test_a_set_in_a_hub_cache_opens_behind_the_caches_own_links(copy: Path, tmp_path: Path) -> None:
    snapshot = hub_cache(copy, tmp_path)
    (tmp_path / "elsewhere").symlink_to(snapshot)
    for folder in (snapshot, snapshot, tmp_path / "elsewhere"):
        opened = EngineSet.open(folder)
        assert opened.digest == EngineSet.open(TINY).digest
        assert opened.folder.is_relative_to(tmp_path / "models--somebody--set")
    weights = opened.folder / "unet" / "model.onnx"
    assert not weights.is_symlink() and weights.samefile(snapshot / "unet" / "model.onnx")


def test_a_link_out_of_the_hub_cache_is_refused(copy: Path, tmp_path: Path) -> None:
    snapshot = hub_cache(copy, tmp_path)
    place = snapshot / "unet" / "model.onnx"
    (tmp_path / "outside.onnx").write_bytes(place.read_bytes())
    place.unlink()
    place.symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(EngineSetError, match="model.onnx is a link out of the hub cache"):
        EngineSet.open(snapshot)


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.onnx", "unet/../../outside", "..\\outside", "C:evil", ""])
def test_a_path_out_of_the_folder_is_refused(copy: Path, path: str) -> None:
    edited(copy, lambda manifest: manifest["files"].update({path: "0" * 64}))
    with pytest.raises(EngineSetError, match="only files inside the folder"):
        EngineSet.open(copy)


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.onnx", None])
def test_an_engine_file_that_the_manifest_gives_no_hash_for_is_refused(copy: Path, path: str | None) -> None:
    edited(copy, lambda manifest: manifest["artifacts"][1].update(file=path))
    with pytest.raises(EngineSetError, match="lacks or misstates"):
        EngineSet.open(copy)


def test_a_manifest_of_another_version_is_refused(copy: Path) -> None:
    edited(copy, lambda manifest: manifest.update(format_version=3))
    with pytest.raises(EngineSetError, match="format version 3; this program reads versions 1 and 2"):
        EngineSet.open(copy)


@pytest.mark.parametrize("key", ["artifacts", "source", "unet_channels", "files"])
def test_a_manifest_without_a_key_is_refused(copy: Path, key: str) -> None:
    edited(copy, lambda manifest: manifest.pop(key))
    with pytest.raises(EngineSetError, match=rf"lacks or misstates '{key}'"):
        EngineSet.open(copy)


def test_a_manifest_that_is_not_json_is_refused(copy: Path) -> None:
    (copy / MANIFEST).write_text("{")
    with pytest.raises(EngineSetError, match="not readable JSON"):
        EngineSet.open(copy)


def test_a_folder_as_optimum_writes_it_opens_without_a_manifest(copy: Path) -> None:
    (copy / MANIFEST).unlink()
    opened, stated = EngineSet.open(copy), EngineSet.open(TINY)
    for fact in ("unet_channels", "latent_scale", "latent_factor", "native_size", "prediction_type"):
        assert getattr(opened, fact) == getattr(stated, fact)
    assert opened.digest == ""


@pytest.mark.parametrize("config", ["{}", '{"in_channels": null}', '{"in_channels": 4, "sample_size": "large"}'])
def test_a_config_that_states_too_little_is_refused(copy: Path, config: str) -> None:
    (copy / MANIFEST).unlink()
    (copy / "unet" / "config.json").write_text(config)
    with pytest.raises(EngineSetError, match="configs of unet and vae_decoder"):
        EngineSet.open(copy)


def test_asking_for_a_format_that_is_not_there_says_what_is() -> None:
    with pytest.raises(EngineSetError, match="no tensorrt engine for unet; it has onnx"):
        EngineSet.open(TINY).artifact("unet", "tensorrt")


@pytest.mark.parametrize(("measured_for", "known"), [("this set", True), ("an older manifest", False)])
def test_the_parity_of_whole_runs_counts_only_for_the_manifest_it_was_measured_with(
    copy: Path, measured_for: str, known: bool
) -> None:
    digest = EngineSet.open(copy).digest if measured_for == "this set" else "0" * 64
    (copy / PARITY).write_text(json.dumps({"engine_set": digest, "kept": True}))
    assert bool(EngineSet.open(copy).parity) == known
