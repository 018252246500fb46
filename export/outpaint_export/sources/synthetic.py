"""Checkpoints that nobody trained: a real architecture with seeded random weights, made without any download.

They give engine sets for measuring speed and for tests. What such a set paints means nothing, and its manifest says
so (`source.synthetic`). The weights are as torch, diffusers and transformers draw them for a new module: every layer
keeps the size of what passes through it, so activations stay far below float16's largest number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import pre_tokenizers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from outpaint_engine.prompts.tokens import END, START

from ..layout import SYNTHETIC
from . import sd15
from .checkpoint import Origin, Sources

__all__ = ["ARCHITECTURES", "Architecture", "byte_tokenizer", "synthetic_sources"]


@dataclass(frozen=True)
class Architecture:
    """The configurations of one architecture's modules: CLIPTextConfig, UNet2DConditionModel, AutoencoderKL."""

    text_encoder: Mapping[str, Any]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]


TINY = Architecture(
    text_encoder={
        "vocab_size": 514,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    },
    unet={
        "sample_size": 16,
        "out_channels": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    },
    vae={
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (8, 16, 16, 16),
        "norm_num_groups": 4,
        "latent_channels": 4,
        "sample_size": 64,
    },
)
ARCHITECTURES: Mapping[str, Architecture] = dict(
    zip(SYNTHETIC, (Architecture(sd15.TEXT_ENCODER, sd15.unet(4), sd15.VAE), TINY), strict=True)
)


def synthetic_sources(name: str, channels: int) -> Sources:
    """The architecture `name` of `ARCHITECTURES` with `channels` (4 or 9) UNet inputs; the same weights every time."""
    architecture = ARCHITECTURES[name]
    unet = {**architecture.unet, "in_channels": channels}
    return Sources(
        text_encoder=_seeded(1, lambda: CLIPTextModel(CLIPTextConfig(**architecture.text_encoder))),
        unet=_seeded(2, lambda: UNet2DConditionModel.from_config(unet)),
        vae=_seeded(3, lambda: AutoencoderKL.from_config(architecture.vae)),
        scheduler=sd15.SCHEDULER,
        tokenizer=byte_tokenizer(int(architecture.text_encoder["vocab_size"])),
        origin=Origin(f"synthetic {name}: random weights", synthetic=True),
    )


def byte_tokenizer(rows: int) -> CLIPTokenizer:
    """A CLIP tokenizer of `rows` tokens (514 or more) that needs no table of merges.

    It has CLIP's alphabet and, as CLIP's, both marks last. Nothing is merged, so every letter is a token and a chunk of
    77 holds 75 letters; the tokens between the alphabet and the marks stand for CLIP's merges and never come up.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    unused = [f"<|unused {number}|>" for number in range(rows - len(letters) - 2)]
    vocabulary = {token: index for index, token in enumerate([*letters, *unused, START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _seeded(seed: int, build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A function that builds the same module on every call and leaves torch's random numbers as they were."""

    def module() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build()

    return module
