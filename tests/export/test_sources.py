"""Which checkpoints are read, and that every other one is refused with a sentence that says what to do."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from outpaint_export.errors import SourceError
from outpaint_export.exporting import export_parts
from outpaint_export.sources import hub, sd15
from outpaint_export.sources.checkpoint import Origin, check_text_encoder, check_unet, check_vae
from outpaint_export.sources.one_file import (
    CLIP,
    CROSS_ATTENTION,
    FIRST_CONVOLUTION,
    LAST_BLOCK,
    VAE,
    XL_CROSS_ATTENTION,
    open_checkpoint,
    unet_channels,
    weight_shapes,
)
from outpaint_export.sources.opening import open_source
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from . import tiny_models

pytestmark = pytest.mark.export

SD15_SHAPES = {FIRST_CONVOLUTION: (320, 4, 3, 3), CROSS_ATTENTION: (320, 768), LAST_BLOCK: (640,)}
WHOLE_SHAPES = {**SD15_SHAPES, f"{VAE}encoder.conv_in.bias": (4,), f"{CLIP}text_model.final_layer_norm.bias": (4,)}


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


@pytest.mark.parametrize("variants", [("fp16", "fp16"), ("fp16", None), (None, "fp16"), ("non_ema", "bf16")])
@pytest.mark.parametrize("pieces", [True, False], ids=["in pieces", "whole"])
def test_variants_are_read_as_the_libraries_write_them(
    variants: tuple[str | None, str | None], pieces: bool, checkpoint: Path, tmp_path: Path
) -> None:
    size = "40KB" if pieces else "5GB"
    folder = shutil.copytree(checkpoint, tmp_path / "saved", ignore=shutil.ignore_patterns("*.safetensors"))
    tiny_models.unet(9).half().save_pretrained(folder / "unet", variant=variants[0], max_shard_size=size)
    tiny_models.text_encoder().half().save_pretrained(folder / "text_encoder", variant=variants[1], max_shard_size=size)
    assert any("-00001-of-" in file.name for file in folder.rglob("*.safetensors")) == pieces
    tiny_models.vae().save_pretrained(folder / "vae")
    sources = open_source(str(folder))
    assert sources.origin.name == ("saved (bf16, non_ema weights)" if "bf16" in variants else "saved")
    for loaded, saved in ((sources.unet(), tiny_models.unet(9)), (sources.text_encoder(), tiny_models.text_encoder())):
        weights = loaded.state_dict()
        assert {weight.dtype for weight in weights.values()} == {torch.float32}
        assert all(torch.equal(weights[name], weight.half().float()) for name, weight in saved.state_dict().items())


def test_of_several_unusual_variants_none_is_guessed(changeable: Path) -> None:
    weights = changeable / "unet" / "diffusion_pytorch_model.safetensors"
    for variant in ("ema", "non_ema"):
        shutil.copy(weights, weights.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    weights.unlink()
    with pytest.raises(SourceError, match="unet has the weights ema and non_ema, and none of them is the usual one"):
        open_source(str(changeable))


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
        ({"in_channels": 4, "num_class_embeds": 3}, "conditions that this program does not give .num_class_embeds."),
        ({"in_channels": 4, "out_channels": 8}, "8 output channels, as of a model that predicts the variance too"),
        ({"in_channels": 4, "out_channels": 3}, "3 output channels; 4 can be used"),
        (
            {"in_channels": 4, "up_block_types": ("ResnetUpsampleBlock2D", "CrossAttnUpBlock2D")},
            "built of ResnetUpsampleBlock2D, which take latents of even sizes only",
        ),
        ({"in_channels": 4, "cross_attention_dim": 48}, "width 48 and the text encoder gives 32"),
    ],
)
def test_a_unet_of_another_family_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check_unet(tiny_models.unet(**changes), tiny_models.TEXT_WIDTH)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 4},
        {"block_out_channels": (8, 16, 16), "down_block_types": ("DownEncoderBlock2D",) * 3}
        | {"up_block_types": ("UpDecoderBlock2D",) * 3},
    ],
)
def test_a_vae_of_another_family_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="colour channels and one latent for [48] pixels a side; 3 and 8 can be used"):
        check_vae(AutoencoderKL(**{**tiny_models.TINY.vae, **changes}))


def test_a_text_encoder_without_room_for_a_word_is_refused(tmp_path: Path) -> None:
    model = tiny_models.text_encoder()
    model.config.max_position_embeddings = 2
    tokenizer = CLIPTokenizer.from_pretrained(tiny_models.tokenizer_files(tmp_path / "tokenizer"))
    with pytest.raises(SourceError, match="reads 2 tokens at a time: no room"):
        check_text_encoder(model, tokenizer)


def test_a_module_that_does_not_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    sources = tiny_models.sources(4, tmp_path / "words")
    text_encoder: Any = sources.text_encoder()
    text_encoder.forward = lambda **_: torch.zeros(2) + torch.zeros(3)
    with pytest.raises(SourceError, match="The text_encoder of this checkpoint does not run: The size of tensor a"):
        export_parts(sources, tmp_path / "set")
    assert not (tmp_path / "set").exists()


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
        ({"lora_unet_down.weight": (4, 4)}, "is a LoRA or one of its relatives. Give the whole checkpoint"),
        ({"unet.mid_block.to_q.lora_A.weight": (4, 4)}, "is a LoRA"),
        ({"emb_params": (2, 768)}, "is an embedding .textual inversion."),
        ({"<cat>": (768,)}, "is an embedding .textual inversion."),
        ({"control_model.time_embed.0.weight": (4,)}, "is a ControlNet"),
        ({"first_stage_model.encoder.conv_in.weight": (4,)}, "is a VAE alone"),
        ({"down_blocks.0.resnets.0.norm1.weight": (4,)}, "is one part of a diffusers folder"),
        ({"model.diffusion_model.joint_blocks.0.x.weight": (4,)}, "is a Stable Diffusion 3 checkpoint. Only"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (4,)}, "is a Flux checkpoint. Only"),
        ({"blocks.0.weight": (4,)}, "is not a checkpoint that is known here. Give the whole checkpoint"),
        (
            {FIRST_CONVOLUTION: (320, 4, 3, 3), XL_CROSS_ATTENTION: (640, 2048), "conditioner.embedders.0.x": (1,)},
            "is a Stable Diffusion XL checkpoint. Only the Stable Diffusion 1.5 family can be exported",
        ),
        (
            {**SD15_SHAPES, CROSS_ATTENTION: (320, 1024)},
            "is a Stable Diffusion 2 checkpoint.*Give the diffusers folder",
        ),
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


@pytest.mark.parametrize(("lacking", "part"), [(VAE, "VAE"), (CLIP, "text encoder")])
def test_one_file_without_a_part_is_told_what_it_lacks(lacking: str, part: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    shapes = {name: shape for name, shape in WHOLE_SHAPES.items() if not name.startswith(lacking)}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, file)
    with pytest.raises(SourceError, match=f"is a Stable Diffusion 1.5 checkpoint without its {part} .no {lacking}"):
        open_source(str(file))


@pytest.mark.parametrize(
    ("marks", "metadata", "expected"),
    [
        ((), {}, {}),
        (("v_pred",), {}, {"prediction_type": "v_prediction"}),
        (
            ("v_pred", "ztsnr"),
            {},
            {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "_class_name": "DDIMScheduler"},
        ),
        ((), {"modelspec.prediction_type": "v"}, {"prediction_type": "v_prediction"}),
        ((), {"modelspec.prediction_type": "epsilon"}, {}),
    ],
)
def test_one_file_says_by_its_marks_what_it_predicts(
    marks: tuple[str, ...], metadata: dict[str, str], expected: dict[str, Any], tmp_path: Path
) -> None:
    weights = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in WHOLE_SHAPES.items()}
    save_file({**weights, **{mark: torch.zeros(0) for mark in marks}}, tmp_path / "model.safetensors", metadata)
    tiny_models.tokenizer_files(tmp_path / "tokenizer")
    assert open_source(str(tmp_path / "model.safetensors")).scheduler == {**sd15.SCHEDULER, **expected}


def test_one_file_needs_a_tokenizer_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in WHOLE_SHAPES.items()}, file)
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


def test_of_a_hub_id_the_pieces_of_a_variant_are_fetched_with_their_index() -> None:
    pieces = [f"unet/diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    pieces.append("unet/diffusion_pytorch_model.safetensors.index.fp16.json")
    files = (
        [name for name in HUB_FILES if not name.startswith("unet/diffusion")] + pieces + ["tokenizer/added_tokens.json"]
    )
    wanted = hub.needed_files("owner/name", files)
    assert {*pieces, "tokenizer/added_tokens.json"} <= set(wanted)


def test_a_hub_id_with_pickled_weights_only_is_refused() -> None:
    files = [
        name.replace("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin")
        for name in HUB_FILES
        if "non_ema" not in name
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
