"""Prompts to what the text encoder reads: tokens, weights, chunks of 77."""

from .chunks import CHUNK, MAX_CHUNKS, WEIGHTINGS, Chunks, PromptPair, Prompts
from .weights import weighted

__all__ = ["CHUNK", "MAX_CHUNKS", "WEIGHTINGS", "Chunks", "PromptPair", "Prompts", "weighted"]
