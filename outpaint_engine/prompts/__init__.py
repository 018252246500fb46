"""Prompts to what the text encoder reads: tokens, weights, chunks of 77; and the LoRAs that a prompt names."""

from .chunks import CHUNK, LONG_PROMPTS, MAX_CHUNKS, WEIGHTINGS, Chunks, PromptPair, Prompts
from .lora_tags import lora_tags
from .weights import weighted

__all__ = [
    "CHUNK",
    "LONG_PROMPTS",
    "MAX_CHUNKS",
    "WEIGHTINGS",
    "Chunks",
    "PromptPair",
    "Prompts",
    "lora_tags",
    "weighted",
]
