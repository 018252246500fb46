"""Reads a checkpoint in one `.safetensors` file, as the original Stable Diffusion code names its weights.

Such a file has no configuration, so only the shape of Stable Diffusion 1.5 is taken (`sd15`), with 4 or 9 input
channels as the file's header says; other families and distilled sizes are told apart by that header alone. What it
predicts is said by marks that trainers leave. The tokenizer has to come from a folder.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
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
from .recognise import what_it_is
from .tokenizer_files import read_tokenizer

__all__ = ["open_checkpoint", "unet_channels", "weight_shapes"]

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"
CROSS_ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
LAST_BLOCK = f"{UNET}output_blocks.11.0.in_layers.0.weight"
XL_CROSS_ATTENTION = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
TEXT_WIDTH, SD2_TEXT_WIDTH = 768, 1024
EMA = "model_ema.diffusion_model"
# The words of a UNet's names, each with the numbers that follow it; blocks have two, of which the last is one digit.
EMA_WORDS = re.compile(
    r"(input_blocks|output_blocks)(\d+)(\d)|(middle_block|time_embed|in_layers|emb_layers|out_layers|"
    r"transformer_blocks|to_out|net)(\d)|(attn[12]|norm[123]?|to_[qkv]|proj_in|proj_out|proj|skip_connection|ff|op|conv|"
    r"weight|bias)|(out)(\d)"
)
NO_TOKENIZER = (
    "{} holds weights only, and the CLIP tokenizer is needed too. Give its folder with `--tokenizer FOLDER` "
    "(the `tokenizer` folder of any Stable Diffusion 1.5 checkpoint), or put that folder beside the file."
)


def open_checkpoint(file: Path, tokenizer: Path | None, origin: Origin) -> Sources:
    """The checkpoint in `file`, with the tokenizer of `tokenizer` or of the folder `tokenizer` beside the file.

    Raises:
        SourceError: not safetensors, not Stable Diffusion 1.5 by its header, or no tokenizer.
    """
    shapes = weight_shapes(file)
    channels = unet_channels(file, shapes)
    for prefix, part in ((VAE, "VAE"), (CLIP, "text encoder")):
        if not any(name.startswith(prefix) for name in shapes):
            raise SourceError(
                f"{file} is a Stable Diffusion 1.5 checkpoint without its {part} (no {prefix}*). Give a file with all "
                "three parts, or a diffusers folder."
            )
    folder = tokenizer or file.parent / "tokenizer"
    if not folder.is_dir():
        raise SourceError(NO_TOKENIZER.format(file))
    return Sources(
        text_encoder=lambda: _text_encoder(file),
        unet=lambda: _converted(UNet2DConditionModel, sd15.unet(channels), file, UNET),
        vae=lambda: _converted(AutoencoderKL, sd15.VAE, file, VAE),
        scheduler={**sd15.SCHEDULER, **_marked(file, shapes)},
        tokenizer=read_tokenizer(folder),
        origin=origin,
    )


def _marked(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the file says of its training: empty tensors `v_pred` and `ztsnr`, or `modelspec.prediction_type`.

    The tensors are what ComfyUI and the web UI read, the metadata what kohya's trainer writes (Stability's ModelSpec).
    """
    with safe_open(file, framework="pt") as weights:
        spec = (weights.metadata() or {}).get("modelspec.prediction_type", "")
    marked: dict[str, Any] = {}
    if "v_pred" in shapes or spec.lower() in ("v", "v_prediction"):
        marked["prediction_type"] = "v_prediction"
    if "ztsnr" in shapes:
        # Of a class that knows the key; Stable Diffusion 1.5's own does not.
        marked |= {"rescale_betas_zero_snr": True, "_class_name": "DDIMScheduler"}
    return marked


def weight_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, from the file's header; no weight is read."""
    try:
        with safe_open(file, framework="pt") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SourceError(f"{file} is not a readable safetensors file: {error}. Download it again.") from error


def unet_channels(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Input channels of the UNet, 4 or 9, of a file that is Stable Diffusion 1.5 by the `shapes` of its weights."""
    unet = {plain: shapes[name] for plain, name in _unet_names(shapes).items()}
    if FIRST_CONVOLUTION not in unet or (CROSS_ATTENTION not in unet and XL_CROSS_ATTENTION in unet):
        raise SourceError(what_it_is(file, shapes))
    width = unet.get(CROSS_ATTENTION, (0, 0))[1]
    if width == SD2_TEXT_WIDTH:
        raise SourceError(
            f"{file} is a Stable Diffusion 2 checkpoint (it attends to texts of width {width}), and one file does not "
            "say how its parts are built and what it predicts. Give the diffusers folder of the same model."
        )
    if width != TEXT_WIDTH:
        raise SourceError(
            f"{file} attends to texts of width {width or 'unknown'}; Stable Diffusion 1.5 has {TEXT_WIDTH}. Only its "
            "family can be exported."
        )
    if LAST_BLOCK not in unet:
        raise SourceError(
            f"{file} has fewer blocks than Stable Diffusion 1.5, as distilled models do, and one file does not say how "
            "they are built. Give the diffusers folder of the same model."
        )
    channels = unet[FIRST_CONVOLUTION][1]
    if channels not in UNET_CHANNELS:
        raise SourceError(f"The UNet in {file} has {channels} input channels; 4 (plain) or 9 (inpainting) can be used.")
    return channels


def _unet_names(names: Iterable[str]) -> dict[str, str]:
    """The UNet's weights by their usual name, and what each is called in the file.

    A file that holds the running average alone (`LitEma` in the original code) has names without dots.
    """
    plain = {name: name for name in names if name.startswith(UNET)}
    averaged = (name for name in names if name.startswith(EMA))
    return plain or {UNET + _dotted(name.removeprefix(EMA)): name for name in averaged}


def _dotted(name: str) -> str:
    """input_blocks110in_layers0weight -> input_blocks.11.0.in_layers.0.weight."""
    return ".".join(piece for match in EMA_WORDS.finditer(name) for piece in match.groups() if piece)


def _weights(file: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as weights:
        names = list(weights.keys())
        stored = _unet_names(names) if prefix == UNET else {name: name for name in names if name.startswith(prefix)}
        return {plain: weights.get_tensor(name) for plain, name in stored.items()}


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
    # With and without the module that once wrapped them: transformers 5 and some older files leave its name out.
    wrapper = "text_model."
    wanted = {name.removeprefix(wrapper): name for name in module.state_dict()}
    found = {
        name.removeprefix(CLIP).removeprefix(wrapper): weight.float() for name, weight in _weights(file, CLIP).items()
    }
    if lacking := sorted(wanted.keys() - found.keys()):
        raise SourceError(
            f"{file} lacks weights of the text encoder, {CLIP}{wrapper}{lacking[0]} for one. "
            "Only CLIP ViT-L/14, as in Stable Diffusion 1.5, can be used."
        )
    loaded: nn.Module = CLIPTextModel(config)
    try:
        loaded.load_state_dict({name: found[short] for short, name in wanted.items()})
    except RuntimeError as error:
        raise SourceError(f"The text encoder in {file} does not fit: {error}. Give another file.") from error
    return loaded
