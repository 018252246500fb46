"""Reads a checkpoint that is stored as a diffusers folder: named component classes, safetensors, nothing executed."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
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

__all__ = [
    "PARTS",
    "PICKLES",
    "PICKLE_REFUSED",
    "chosen_variant",
    "load_module",
    "open_folder",
    "read_json",
    "stored_variants",
    "variant_of",
]

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
# As diffusers and transformers write it today and wrote it before: NAME.fp16.safetensors, NAME.fp16-00001-of-00002.…,
# NAME-00001-of-00002.fp16.…, and an index NAME.safetensors.index.fp16.json or NAME.safetensors.fp16.index.json.
WEIGHTS = r"{}(?:\.(\w+))?(-\d+-of-\d+)?(?:\.(\w+))?\.safetensors(?:(?:\.(\w+))?\.index(?:\.(\w+))?\.json)?"
USUAL_VARIANTS = ("", "fp16")
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
    variants = {part: variant_of(folder, part) for part in PARTS}
    unusual = sorted({variant for variant in variants.values() if variant and variant not in USUAL_VARIANTS})
    if unusual:
        origin = replace(origin, name=f"{origin.name} ({', '.join(unusual)} weights)")
    return Sources(
        text_encoder=lambda: load_module(CLASSES["text_encoder"], folder / "text_encoder", variants["text_encoder"]),
        unet=lambda: load_module(CLASSES["unet"], folder / "unet", variants["unet"]),
        vae=lambda: load_module(CLASSES["vae"], folder / "vae", variants["vae"]),
        scheduler=_scheduler(folder),
        tokenizer=read_tokenizer(folder / "tokenizer"),
        origin=origin,
    )


def _scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration, of the class that model_index.json names, if it names one, as in diffusers."""
    config, index = read_json(folder / "scheduler" / "scheduler_config.json"), folder / "model_index.json"
    named = read_json(index).get("scheduler") if index.is_file() else None
    return config | {"_class_name": named[1]} if isinstance(named, list) and len(named) == 2 else config


def stored_variants(names: Iterable[str], weights: str) -> dict[str, list[str]]:
    """The variants of `weights` ("fp16", "non_ema", "" for the plain one) among file names, each with its files.

    One is there if its single file is, or the index of its pieces.
    """
    found: dict[str, list[str]] = {}
    whole = set()
    for name in sorted(names):
        if match := re.fullmatch(WEIGHTS.format(re.escape(weights)), name):
            before, piece, *others = match.groups()
            variant = before or next(filter(None, others), "")
            found.setdefault(variant, []).append(name)
            if piece is None:
                whole.add(variant)
    return {variant: files for variant, files in found.items() if variant in whole}


def chosen_variant(part: str, variants: Mapping[str, Any]) -> str:
    """Full weights where they are there, else float16, else the only ones there are.

    Raises:
        SourceError: several are there and none of them is the usual one.
    """
    for variant in USUAL_VARIANTS:
        if variant in variants:
            return variant
    if len(variants) == 1:
        return next(iter(variants))
    raise SourceError(
        f"{part} has the weights {' and '.join(variants)}, and none of them is the usual one. Keep one of them only."
    )


def variant_of(folder: Path, part: str, parts: Mapping[str, tuple[str, str, str]] = PARTS) -> str | None:
    """The variant of a part's weights to read, None for the plain one, after a look at what the part is."""
    weights, key, expected = parts[part]
    kind = read_json(folder / part / "config.json").get(key)
    if kind != expected:
        raise SourceError(
            f"{folder / part} is a {kind}; expected {expected}. Only checkpoints of the Stable Diffusion 1.5 family "
            "can be exported."
        )
    names = [path.name for path in (folder / part).iterdir()]
    if variants := stored_variants(names, weights):
        return chosen_variant(str(folder / part), variants) or None
    if any(name.endswith(PICKLES) for name in names):
        raise SourceError(PICKLE_REFUSED.format(folder / part))
    raise SourceError(f"{folder / part} has no {weights}.safetensors. Copy or download the checkpoint again.")


def load_module(kind: Any, folder: Path, variant: str | None) -> nn.Module:
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


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint's folder."""
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
