"""A tiny safety checker with random weights, beside the tiny checkpoint: the real classes and file layout."""

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

SIDE, WIDTH = 32, 16
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "projection_dim": WIDTH}


def save_safety_checker(folder: Path) -> Path:
    """Write `safety_checker` and `feature_extractor` into a diffusers folder, and return it.

    Weights and concepts are random and the thresholds lie within the cosines of `pictures`, so that some are found.
    """
    torch.manual_seed(5)
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        projection_dim=WIDTH,
        vision_config={**SMALL, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": 8},
        text_config={**SMALL, **marks, "num_hidden_layers": 1, "vocab_size": 99},
    )
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        for weight in checker.vision_model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
        checker.concept_embeds.copy_(torch.randn(17, WIDTH))
        checker.special_care_embeds.copy_(torch.randn(3, WIDTH))
        checker.concept_embeds_weights.copy_(torch.linspace(0.3, 0.6, 17))
        checker.special_care_embeds_weights.copy_(torch.tensor([0.1, 0.3, 0.2]))
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder / "feature_extractor")
    return folder


def pictures(count: int = 12) -> list[Image.Image]:
    """Square pictures of several sizes, from smooth to noise."""
    rng = np.random.default_rng(3)
    found = []
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (2 + index, 2 + index, 3), np.uint8))
        found.append(coarse.resize((40 + 8 * index,) * 2, Image.Resampling.BICUBIC))
    return found
