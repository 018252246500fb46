"""A checkpoint in one file gives back the modules whose weights were put into it under their original names."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from outpaint_export.errors import SourceError
from outpaint_export.sources import one_file as reading
from outpaint_export.sources import sd15
from outpaint_export.sources.opening import open_source
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from .. import tiny_models

pytestmark = pytest.mark.export

# Names of diffusers, as patterns, and what the original code calls the same module (SD1.5: two layers a block).
Renaming = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
RESNET: Renaming = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
UNET: Renaming = (
    (r"^conv_in", "input_blocks.0.0"),
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"^down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{3 * int(m[1]) + int(m[2]) + 1}.0"),
    (r"^down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{3 * int(m[1]) + int(m[2]) + 1}.1"),
    (r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{3 * int(m[1]) + 3}.0.op"),
    (r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{3 * int(m[1]) + int(m[2])}.0"),
    (r"^up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{3 * int(m[1]) + int(m[2])}.1"),
    # Behind the attention block, which the lowest level does not have.
    (r"^up_blocks\.0\.upsamplers\.0", "output_blocks.2.1"),
    (r"^up_blocks\.(\d)\.upsamplers\.0", lambda m: f"output_blocks.{3 * int(m[1]) + 2}.2"),
)
VAE: Renaming = (
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample"),
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
)


def renamed(module: nn.Module, renaming: Renaming, prefix: str) -> dict[str, Tensor]:
    """The module's weights under their original names."""
    weights = {}
    for name, weight in module.state_dict().items():
        rules = (*renaming, *RESNET) if "resnets" in name and renaming is UNET else renaming
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        # The original VAE has convolutions of size 1 where diffusers has matrices.
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name):
            weight = weight[:, :, None, None]
        weights[prefix + name] = weight.clone().contiguous()
    return weights


@pytest.fixture
def toy_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable Diffusion 1.5's shape with few channels."""
    real_unet, words = sd15.unet, tiny_models.vocabulary()
    toy: Mapping[str, Any] = {
        "block_out_channels": [8, 8, 16, 16],
        "norm_num_groups": 4,
        "cross_attention_dim": tiny_models.TEXT_WIDTH,
        "attention_head_dim": 2,
    }
    monkeypatch.setattr(sd15, "unet", lambda channels: {**real_unet(channels), **toy})
    monkeypatch.setattr(sd15, "VAE", {**sd15.VAE, "block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4})
    text = {"hidden_size": tiny_models.TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "vocab_size": len(words), "projection_dim": tiny_models.TEXT_WIDTH}
    text |= {"bos_token_id": words["<|startoftext|>"], "eos_token_id": words["<|endoftext|>"]}
    text |= {"pad_token_id": words["<|endoftext|>"]}
    monkeypatch.setattr(sd15, "TEXT_ENCODER", {**sd15.TEXT_ENCODER, **text})
    monkeypatch.setattr(reading, "TEXT_WIDTH", tiny_models.TEXT_WIDTH)


def toy_modules() -> dict[str, nn.Module]:
    torch.manual_seed(4)
    return {
        "unet": UNet2DConditionModel.from_config(sd15.unet(9)),
        "vae": AutoencoderKL.from_config(sd15.VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**sd15.TEXT_ENCODER)),
    }


def one_file(modules: Mapping[str, nn.Module], folder: Path) -> Path:
    """The three modules in one file as the original code saves them, in float16, with a tokenizer beside it."""
    text = modules["text_encoder"]
    nested = any(name.startswith("text_model.") for name in text.state_dict())
    text_prefix = reading.CLIP if nested else f"{reading.CLIP}text_model."
    weights = {
        **renamed(modules["unet"], UNET, reading.UNET),
        **renamed(modules["vae"], VAE, reading.VAE),
        **renamed(text, (), text_prefix),
        f"{reading.CLIP}text_model.embeddings.position_ids": torch.arange(77)[None],
    }
    save_file(
        {name: value.half() if value.is_floating_point() else value for name, value in weights.items()},
        folder / "toy.safetensors",
    )
    tiny_models.tokenizer_files(folder / "tokenizer")
    return folder / "toy.safetensors"


def averaged_only(name: str) -> str:
    """What the original code calls the running average of a UNet's weight: `LitEma` takes the dots out."""
    if not name.startswith(reading.UNET):
        return name
    return f"model_ema.diffusion_model{name.removeprefix(reading.UNET).replace('.', '')}"


def without_wrapper(name: str) -> str:
    """Older files lack one module's name in those of the text encoder."""
    return name.replace(f"{reading.CLIP}text_model.", reading.CLIP)


@pytest.mark.parametrize("naming", [str, averaged_only, without_wrapper])
def test_every_weight_of_every_part_comes_back(naming: Callable[[str], str], toy_sizes: None, tmp_path: Path) -> None:
    modules = toy_modules()
    file = one_file(modules, tmp_path)
    save_file({naming(name): weight for name, weight in load_file(file).items()}, file)
    sources = open_source(str(file))
    for part, load in (("unet", sources.unet), ("vae", sources.vae), ("text_encoder", sources.text_encoder)):
        loaded = load().state_dict()
        assert {weight.dtype for weight in loaded.values()} == {torch.float32}
        for name, weight in modules[part].state_dict().items():
            assert torch.equal(loaded[name], weight.half().float()), f"{part}: {name}"


@pytest.mark.parametrize(
    ("part", "prefix"), [("unet", reading.UNET), ("vae", reading.VAE), ("text_encoder", reading.CLIP)]
)
def test_a_weight_that_is_missing_is_named(part: str, prefix: str, toy_sizes: None, tmp_path: Path) -> None:
    modules = toy_modules()
    file = one_file(modules, tmp_path)
    weights = {name: torch.zeros(shape) for name, shape in reading.weight_shapes(file).items()}
    dropped = [name for name in weights if name.startswith(prefix) and name.endswith(".bias")][0]
    del weights[dropped]
    save_file(weights, file)
    with pytest.raises(SourceError, match="lacks weights of"):
        getattr(open_source(str(file)), part)()
