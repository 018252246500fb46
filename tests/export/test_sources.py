"""Which checkpoints are read, and that every other one is refused with a sentence that says what to do."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from outpaint_export.errors import SourceError
from outpaint_export.sources import hub, sd15
from outpaint_export.sources.checkpoint import Origin, check_text_encoder, check_unet
from outpaint_export.sources.one_file import (
    FIRST_CONVOLUTION,
    LAST_BLOCK,
    open_checkpoint,
    unet_channels,
    weight_shapes,
)
from outpaint_export.sources.opening import open_source
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from . import tiny_models

pytestmark = pytest.mark.export

CROSS_ATTENTION = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SD15_SHAPES = {FIRST_CONVOLUTION: (320, 4, 3, 3), CROSS_ATTENTION: (320, 768), LAST_BLOCK: (640,)}


@pytest.fixture
def changeable(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may break."""
    return Path(shutil.copytree(checkpoint, tmp_path / "broken"))


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_gives_the_modules_that_were_saved(checkpoint: Path) -> None:
    sources = open_source(str(checkpoint))
    loaded, saved = sources.unet().state_dict(), tiny_models.unet(9).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in saved.items())
    assert sources.scheduler["beta_schedule"] == "scaled_linear"
    assert sources.origin == Origin("tiny-inpainting")


def test_half_precision_files_are_read_where_there_are_no_others(changeable: Path) -> None:
    weights = changeable / "unet" / "diffusion_pytorch_model.safetensors"
    half = {name: weight.half() for name, weight in load_file(weights).items()}
    save_file(half, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    weights.unlink()
    unet = open_source(str(changeable)).unet()
    assert {weight.dtype for weight in unet.parameters()} == {torch.float32}
    torch.testing.assert_close(next(unet.parameters()), next(tiny_models.unet(9).parameters()), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt", ".pth"])
def test_a_pickle_is_refused_with_the_reason(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"never read")
    with pytest.raises(SourceError, match="can run any program.*Convert it to safetensors"):
        open_source(str(tmp_path / f"model{suffix}"))


def test_a_folder_with_pickled_weights_only_is_refused(changeable: Path) -> None:
    weights = changeable / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(SourceError, match="vae holds its weights as a pickle"):
        open_source(str(changeable))


@pytest.mark.parametrize(
    ("relative", "message"),
    [
        ("vae/config.json", "is missing.*Expected the folders text_encoder, unet, vae"),
        ("scheduler/scheduler_config.json", "scheduler_config.json is missing"),
        ("tokenizer/vocab.json", "no CLIP tokenizer"),
        ("unet/diffusion_pytorch_model.safetensors", "has no diffusion_pytorch_model.safetensors"),
    ],
)
def test_a_missing_file_is_named(relative: str, message: str, changeable: Path) -> None:
    (changeable / relative).unlink()
    with pytest.raises(SourceError, match=message):
        open_source(str(changeable))


@pytest.mark.parametrize(
    ("relative", "changes", "message"),
    [
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}, "unet is a FluxTransformer2DModel"),
        ("text_encoder/config.json", {"model_type": "t5"}, "text_encoder is a t5"),
    ],
)
def test_another_kind_of_part_is_named(relative: str, changes: dict[str, str], message: str, changeable: Path) -> None:
    change_json(changeable / relative, **changes)
    with pytest.raises(SourceError, match=message):
        open_source(str(changeable))


def test_missing_weights_are_an_error_and_not_noise(changeable: Path) -> None:
    path = changeable / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.weight"]
    save_file(weights, path)
    with pytest.raises(SourceError, match="lacks 1 weights, conv_in.weight"):
        open_source(str(changeable)).unet()


def test_truncated_weights_are_an_error(changeable: Path) -> None:
    path = changeable / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SourceError, match="unet cannot be read"):
        open_source(str(changeable)).unet()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 8}, "8 input channels; 4 .plain. or 9 .inpainting."),
        ({"in_channels": 4, "class_embed_type": "timestep"}, "conditions that this program does not give"),
    ],
)
def test_a_unet_of_another_family_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check_unet(tiny_models.unet(**changes))


def test_a_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(tiny_models.tokenizer_files(tmp_path / "tokenizer"))
    tokenizer.add_tokens(["outpainting"])
    with pytest.raises(SourceError, match="do not belong together"):
        check_text_encoder(tiny_models.text_encoder(), tokenizer)


@pytest.mark.parametrize("channels", [4, 9])
def test_the_header_of_one_file_says_how_many_channels_it_has(channels: int, tmp_path: Path) -> None:
    shapes = {**SD15_SHAPES, FIRST_CONVOLUTION: (320, channels, 3, 3)}
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, file)
    assert unet_channels(file, weight_shapes(file)) == channels
    assert sd15.unet(channels)["in_channels"] == channels


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"lora_unet_down.weight": (4, 4)}, "not a whole Stable Diffusion checkpoint"),
        ({**SD15_SHAPES, CROSS_ATTENTION: (320, 1024)}, "width 1024.*Stable Diffusion 2"),
        ({FIRST_CONVOLUTION: (320, 4, 3, 3)}, "width unknown"),
        ({**SD15_SHAPES, FIRST_CONVOLUTION: (320, 8, 3, 3)}, "8 input channels"),
        ({name: SD15_SHAPES[name] for name in (FIRST_CONVOLUTION, CROSS_ATTENTION)}, "fewer blocks.*diffusers folder"),
    ],
)
def test_one_file_of_another_family_is_told_by_its_header(
    shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=message):
        unet_channels(tmp_path / "model.safetensors", shapes)


def test_one_file_needs_a_tokenizer_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in SD15_SHAPES.items()}, file)
    with pytest.raises(SourceError, match="--tokenizer FOLDER"):
        open_source(str(file))
    tiny_models.tokenizer_files(tmp_path / "tokenizer")
    assert len(open_checkpoint(file, None, Origin("one")).tokenizer) == len(tiny_models.vocabulary())
    elsewhere = tiny_models.tokenizer_files(tmp_path / "elsewhere")
    assert open_source(str(file), tokenizer=elsewhere).origin == Origin("model")


def test_one_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_text("<html>Not found</html>")
    with pytest.raises(SourceError, match="not a readable safetensors file"):
        open_source(str(tmp_path / "page.safetensors"))


@pytest.mark.parametrize(
    ("source", "message"), [("no such folder", "There is no folder or file"), ("/no/such/folder", "There is no folder")]
)
def test_a_source_that_is_not_there_is_named(source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(source)


def test_only_hub_ids_have_revisions(checkpoint: Path) -> None:
    with pytest.raises(SourceError, match="Leave `--revision` out"):
        open_source(str(checkpoint), revision="main")


HUB_FILES = [
    "README.md", "v1-5-pruned.ckpt", "model_index.json", "scheduler/scheduler_config.json",
    "tokenizer/vocab.json", "tokenizer/merges.txt", "safety_checker/model.safetensors",
    "text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
    "unet/config.json", "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.bin",
]  # fmt: skip


def test_of_a_hub_id_only_the_files_that_are_needed_are_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}
    siblings = [SimpleNamespace(rfilename=name) for name in HUB_FILES]
    info = SimpleNamespace(siblings=siblings, sha="a" * 40, card_data=SimpleNamespace(license="openrail"))
    monkeypatch.setattr(hub, "HfApi", lambda: SimpleNamespace(model_info=lambda name, revision: info))
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **given: asked.update(given) or str(tmp_path))
    folder, origin = hub.fetch("owner/name", "main")
    assert (folder, origin) == (tmp_path, Origin("owner/name", "a" * 40, "openrail"))
    assert asked["revision"] == "a" * 40
    assert sorted(asked["allow_patterns"]) == sorted(
        name for name in HUB_FILES if not name.startswith(("README", "v1-5", "safety")) and "non_ema" not in name
        and name not in ("text_encoder/model.fp16.safetensors", "vae/diffusion_pytorch_model.bin")
    )  # fmt: skip


def test_a_hub_id_with_pickled_weights_only_is_refused() -> None:
    files = [
        name.replace("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin")
        for name in HUB_FILES
    ]
    with pytest.raises(SourceError, match="owner/name .unet. holds its weights as a pickle"):
        hub.needed_files("owner/name", files)


def test_without_network_an_unknown_hub_id_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(name: str, revision: str | None) -> None:
        # httpx's errors are no OSErrors.
        raise Exception("no route")

    monkeypatch.setattr(hub, "HfApi", lambda: SimpleNamespace(model_info=unreachable))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="hub cannot be reached .no route.*Connect to the network"):
        open_source("owner/surely-never-downloaded")
