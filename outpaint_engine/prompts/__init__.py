"""Prompts to what the text encoder reads: tokens, weights, chunks of 77."""

from .chunks import CHUNK, LONG_PROMPTS, MAX_CHUNKS, WEIGHTINGS, Chunks, PromptPair, Prompts
from .weights import weighted

__all__ = ["CHUNK", "LONG_PROMPTS", "MAX_CHUNKS", "WEIGHTINGS", "Chunks", "PromptPair", "Prompts", "weighted"]
