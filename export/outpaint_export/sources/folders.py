"""Reads a checkpoint that is stored as a diffusers folder: named component classes, safetensors, nothing executed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextModel

from ..errors import SourceError
from .checkpoint import Origin, Sources
from .tokenizer_files import read_tokenizer

__all__ = ["PARTS", "PICKLES", "PICKLE_REFUSED", "open_folder"]

PICKLES = (".ckpt", ".bin", ".pt", ".pth")
PICKLE_REFUSED = (
    "{} holds its weights as a pickle, which can run any program when it is read, so it is refused. Convert it to "
    "safetensors in a place where nothing can be lost, or look for the same checkpoint with .safetensors files."
)
# Folder of a part: name of its weight files, key and value of its config.json that say what it is.
PARTS = {
    "text_encoder": ("model", "model_type", "clip_text_model"),
    "unet": ("diffusion_pytorch_model", "_class_name", "UNet2DConditionModel"),
    "vae": ("diffusion_pytorch_model", "_class_name", "AutoencoderKL"),
}
CLASSES = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}


def open_folder(folder: Path, origin: Origin) -> Sources:
    """The checkpoint in `folder`; weights are read when they are asked for.

    Raises:
        SourceError: a part is missing, of another kind, or has only pickled weights.
    """
    if (folder / "unet" / "model.onnx").is_file():
        raise SourceError(
            f"{folder} is exported already. Use `outpaint-export adopt {folder}` to write its manifest, "
            "or give the checkpoint that it was made from."
        )
    return Sources(
        text_encoder=_loader(folder, "text_encoder"),
        unet=_loader(folder, "unet"),
        vae=_loader(folder, "vae"),
        scheduler=_read_json(folder / "scheduler" / "scheduler_config.json"),
        tokenizer=read_tokenizer(folder / "tokenizer"),
        origin=origin,
    )


def _loader(folder: Path, part: str) -> Callable[[], nn.Module]:
    weights, key, expected = PARTS[part]
    kind = _read_json(folder / part / "config.json").get(key)
    if kind != expected:
        raise SourceError(
            f"{folder / part} is a {kind}; expected {expected}. Only checkpoints of the Stable Diffusion 1.5 family "
            "can be exported."
        )
    variant = _variant(folder / part, weights)
    return lambda: _load(CLASSES[part], folder / part, variant)


def _variant(folder: Path, weights: str) -> str | None:
    """None for full weights, "fp16" where only those are there."""
    for variant, name in ((None, weights), ("fp16", f"{weights}.fp16")):
        if (folder / f"{name}.safetensors").is_file() or (folder / f"{name}.safetensors.index.json").is_file():
            return variant
    if any(path.suffix in PICKLES for path in folder.iterdir()):
        raise SourceError(PICKLE_REFUSED.format(folder))
    raise SourceError(f"{folder} has no {weights}.safetensors. Copy or download the checkpoint again.")


def _load(kind: Any, folder: Path, variant: str | None) -> nn.Module:
    """One module in float32. A weight that is missing is an error; the libraries would fill it with noise."""
    try:
        module, info = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise SourceError(f"{folder} cannot be read: {error}. Copy or download the checkpoint again.") from error
    if missing := sorted(info["missing_keys"]):
        raise SourceError(
            f"{folder} lacks {len(missing)} weights, {missing[0]} for one. Copy or download the checkpoint again."
        )
    loaded: nn.Module = module
    return loaded


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceError(
            f"{path} is missing, so {path.parent.parent} is not a Stable Diffusion checkpoint as diffusers saves it. "
            "Expected the folders text_encoder, unet, vae, scheduler and tokenizer."
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is not readable JSON: {error}. Copy or download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path} should hold a JSON object. Copy or download the checkpoint again.")
    return content
