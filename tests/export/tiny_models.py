"""Tiny random checkpoints of the Stable Diffusion 1.5 family: the real classes and file layout, toy sizes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from outpaint_export.sources import sd15
from outpaint_export.sources.checkpoint import Origin, Sources
from outpaint_export.sources.synthetic import ARCHITECTURES
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TINY = ARCHITECTURES["tiny"]
TEXT_WIDTH = int(TINY.text_encoder["hidden_size"])
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.!?'-"
MERGES = ("s e", "se a</w>", "s u", "su n</w>", "t h", "th e</w>")


def vocabulary() -> dict[str, int]:
    """Letters, letters that end a word, the joined pieces of `MERGES`, and CLIP's two marks."""
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *(merge.replace(" ", "") for merge in MERGES)]
    return {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}


def tokenizer_files(folder: Path) -> Path:
    """Write vocab.json and merges.txt, as Stable Diffusion 1.5 has them, and return the folder."""
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    return folder


def text_encoder() -> CLIPTextModel:
    """Two layers, width 32."""
    torch.manual_seed(1)
    words = vocabulary()
    end = words["<|endoftext|>"]
    marks = {"bos_token_id": words["<|startoftext|>"], "eos_token_id": end, "pad_token_id": end}
    return CLIPTextModel(CLIPTextConfig(**{**TINY.text_encoder, "vocab_size": len(words), **marks})).eval()


def unet(in_channels: int, **changes: Any) -> UNet2DConditionModel:
    """Two levels with cross-attention on the upper one."""
    torch.manual_seed(2)
    return UNet2DConditionModel(
        **{**TINY.unet, "block_out_channels": (16, 32), "in_channels": in_channels, **changes}
    ).eval()


def vae() -> AutoencoderKL:
    """Factor 8 and four latent channels, as Stable Diffusion 1.5."""
    torch.manual_seed(3)
    return AutoencoderKL(**TINY.vae).eval()


def scheduler() -> Mapping[str, Any]:
    """Stable Diffusion 1.5's."""
    return sd15.SCHEDULER


def sources(in_channels: int, folder: Path) -> Sources:
    """The tiny checkpoint in memory; `folder` is where its tokenizer's files are put."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_files(folder))
    modules = (text_encoder(), unet(in_channels), vae())
    return Sources.of_modules(modules, scheduler(), tokenizer, Origin(f"tiny-{in_channels}"))


def save_checkpoint(in_channels: int, folder: Path) -> Path:
    """The tiny checkpoint as a diffusers folder with safetensors; returns the folder."""
    text_encoder().save_pretrained(folder / "text_encoder")
    unet(in_channels).save_pretrained(folder / "unet")
    vae().save_pretrained(folder / "vae")
    tokenizer_files(folder / "tokenizer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler()), encoding="utf-8")
    return folder


def save_tiny_autoencoder(folder: Path, **changes: Any) -> Path:
    """TAESD with few channels and random weights as a folder of its own; returns it. Its own scaling is not 1."""
    torch.manual_seed(4)
    few = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4, "scaling_factor": 0.8}
    autoencoder = AutoencoderTiny(**{**few, "num_decoder_blocks": (2, 1, 1, 1), **changes})
    with torch.no_grad():
        for weight in autoencoder.parameters():
            weight.mul_(1.5)
    autoencoder.save_pretrained(folder)
    return folder
