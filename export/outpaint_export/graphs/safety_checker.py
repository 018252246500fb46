"""The safety checker as a torch module: what CLIP makes of a picture. The runtime compares it with the concepts."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch import Tensor

from outpaint_engine.safety.concepts import TENSORS

from .modules import LOCAL_KEYS, PartGraph, seeded

__all__ = ["SafetyCheckerGraph"]


class SafetyCheckerGraph(PartGraph):
    """`clip_input` (batch, 3, side, side) -> `image_embeds` (batch, width), both float32.

    The concepts that the embeddings are compared with stay outside the graph, in `concepts`.
    """

    part = "safety_checker"
    used = ("safety_checker.vision_model.", "safety_checker.visual_projection.")

    def __init__(self, safety_checker: StableDiffusionSafetyChecker) -> None:
        super().__init__()
        self.safety_checker = safety_checker

    def forward(self, clip_input: Tensor) -> Tensor:
        """Embeddings of a batch of pictures in the space that CLIP shares with texts."""
        pooled = self.safety_checker.vision_model(clip_input).pooler_output
        embeddings: Tensor = self.safety_checker.visual_projection(pooled)
        return embeddings

    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Pictures of the one size that it takes."""
        vision, generator = self.safety_checker.config.vision_config, seeded()
        size = int(vision.num_channels), int(vision.image_size), int(vision.image_size)
        return [(torch.randn(batch, *size, generator=generator),) for batch in (2, 1)]

    @property
    def concepts(self) -> dict[str, Tensor]:
        """Embeddings and thresholds, under their names in a checkpoint, in float32."""
        return {name: getattr(self.safety_checker, name).detach().float() for name in TENSORS}

    @property
    def config(self) -> Mapping[str, Any]:
        """The CLIPConfig."""
        return {key: value for key, value in self.safety_checker.config.to_dict().items() if key not in LOCAL_KEYS}
