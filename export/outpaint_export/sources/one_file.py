"""Reads a checkpoint in one `.safetensors` file, as the original Stable Diffusion code names its weights.

Such a file has no configuration, so only the shape of Stable Diffusion 1.5 is taken (`sd15`), with 4 or 9 input
channels as the file's header says; other families and distilled sizes are told apart by that header alone. The
tokenizer has to come from a folder.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from ..errors import SourceError
from . import sd15
from .checkpoint import UNET_CHANNELS, Origin, Sources
from .tokenizer_files import read_tokenizer

__all__ = ["open_checkpoint", "unet_channels", "weight_shapes"]

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"
CROSS_ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
LAST_BLOCK = f"{UNET}output_blocks.11.0.in_layers.0.weight"
TEXT_WIDTH = 768
NO_TOKENIZER = (
    "{} holds weights only, and the CLIP tokenizer is needed too. Give its folder with `--tokenizer FOLDER` "
    "(the `tokenizer` folder of any Stable Diffusion 1.5 checkpoint), or put that folder beside the file."
)


def open_checkpoint(file: Path, tokenizer: Path | None, origin: Origin) -> Sources:
    """The checkpoint in `file`, with the tokenizer of `tokenizer` or of the folder `tokenizer` beside the file.

    Raises:
        SourceError: not safetensors, not Stable Diffusion 1.5 by its header, or no tokenizer.
    """
    channels = unet_channels(file, weight_shapes(file))
    folder = tokenizer or file.parent / "tokenizer"
    if not folder.is_dir():
        raise SourceError(NO_TOKENIZER.format(file))
    return Sources(
        text_encoder=lambda: _text_encoder(file),
        unet=lambda: _converted(UNet2DConditionModel, sd15.unet(channels), file, UNET),
        vae=lambda: _converted(AutoencoderKL, sd15.VAE, file, VAE),
        scheduler=sd15.SCHEDULER,
        tokenizer=read_tokenizer(folder),
        origin=origin,
    )


def weight_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, from the file's header; no weight is read."""
    try:
        with safe_open(file, framework="pt") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SourceError(f"{file} is not a readable safetensors file: {error}. Download it again.") from error


def unet_channels(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Input channels of the UNet, 4 or 9, of a file that is Stable Diffusion 1.5 by the `shapes` of its weights."""
    if FIRST_CONVOLUTION not in shapes:
        raise SourceError(
            f"{file} has no {FIRST_CONVOLUTION}, so it is not a whole Stable Diffusion checkpoint (a LoRA, a single "
            "part, or a part of a diffusers folder). Give the whole checkpoint: one file, or the diffusers folder."
        )
    width = shapes.get(CROSS_ATTENTION, (0, 0))[1]
    if width != TEXT_WIDTH:
        raise SourceError(
            f"{file} attends to texts of width {width or 'unknown'}; Stable Diffusion 1.5 has {TEXT_WIDTH}. Stable "
            "Diffusion 2 and XL cannot be exported."
        )
    if LAST_BLOCK not in shapes:
        raise SourceError(
            f"{file} has fewer blocks than Stable Diffusion 1.5, as distilled models do, and one file does not say how "
            "they are built. Give the diffusers folder of the same model."
        )
    channels = shapes[FIRST_CONVOLUTION][1]
    if channels not in UNET_CHANNELS:
        raise SourceError(f"The UNet in {file} has {channels} input channels; 4 (plain) or 9 (inpainting) can be used.")
    return channels


def _weights(file: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as weights:
        return {name: weights.get_tensor(name) for name in weights.keys() if name.startswith(prefix)}  # noqa: SIM118


def _converted(kind: Any, config: Mapping[str, Any], file: Path, prefix: str) -> nn.Module:
    """A diffusers module of `config` with the weights of `file` that begin with `prefix`, in float32."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            # Without low_cpu_mem_usage, missing weights would be left at random values.
            module: nn.Module = kind.from_single_file(
                _weights(file, prefix),
                config=folder,
                local_files_only=True,
                low_cpu_mem_usage=True,
                dtype=torch.float32,
            )
        except NotImplementedError as error:
            # torch's answer to moving a weight that nothing was read for.
            raise SourceError(f"{file} lacks weights of {prefix}*. Download the checkpoint again.") from error
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise SourceError(f"The weights {prefix}* of {file} do not fit: {error}. Give another file.") from error
    return module


def _text_encoder(file: Path) -> nn.Module:
    config = CLIPTextConfig(**sd15.TEXT_ENCODER)
    with torch.device("meta"):
        module = CLIPTextModel(config)
    wanted = set(module.state_dict())
    # transformers 5 keeps the text model's weights without the name of the module that once wrapped them.
    nested = any(name.startswith("text_model.") for name in wanted)
    prefix = CLIP if nested else f"{CLIP}text_model."
    weights = {name.removeprefix(prefix): weight.float() for name, weight in _weights(file, CLIP).items()}
    if lacking := sorted(wanted - set(weights)):
        raise SourceError(
            f"{file} lacks weights of the text encoder, {prefix}{lacking[0]} for one. "
            "Only CLIP ViT-L/14, as in Stable Diffusion 1.5, can be used."
        )
    loaded: nn.Module = CLIPTextModel(config)
    try:
        loaded.load_state_dict({name: weights[name] for name in wanted})
    except RuntimeError as error:
        raise SourceError(f"The text encoder in {file} does not fit: {error}. Give another file.") from error
    return loaded
