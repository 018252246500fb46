"""Random inputs for any graph of a part, as large as real ones are, from what the graph itself states of its inputs."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from outpaint_engine.tensors import Array

__all__ = ["random_feeds"]

ROWS, LATENTS, PICTURE = 2, 16, 128
TOKENS, PROMPT = 77, 24
"""Tokens of a text that the UNet is shown, and of one that any text encoder has positions for."""
TIMESTEPS, FEWEST_WORDS, LATENT_SPREAD = 999, 64, 5.5
"""The last timestep; token ids that even a tiny tokenizer has; the standard deviation of latents before the decoder."""
ELEMENTS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def random_feeds(part: str, inputs: Iterable[Any]) -> dict[str, Array]:
    """The same inputs on every call, for a graph's inputs as ONNX Runtime lists them: two rows at 128x128 pixels."""
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for each in inputs:
        kind, free = ELEMENTS[each.type], _free_axes(part, each.name, len(each.shape))
        shape = tuple(axis if isinstance(axis, int) else free[at] for at, axis in enumerate(each.shape))
        if each.name == "timestep" and each.shape != ["batch_size"]:
            # Optimum's graphs take one for all rows.
            shape = (1,) * len(each.shape)
        if each.name == "attention_mask":
            feeds[each.name] = np.ones(shape, kind)
        elif each.name == "timestep":
            feeds[each.name] = rng.uniform(0, TIMESTEPS, shape).astype(kind)
        elif np.issubdtype(kind, np.integer):
            feeds[each.name] = rng.integers(0, FEWEST_WORDS, shape).astype(kind)
        else:
            spread = LATENT_SPREAD if each.name == "latent_sample" else 1
            feeds[each.name] = (rng.standard_normal(shape) * spread).astype(kind)
    return feeds


def _free_axes(part: str, name: str, axes: int) -> tuple[int, ...]:
    """How large the axes of an input are that the graph leaves free."""
    if name in ("input_ids", "attention_mask"):
        return (ROWS, PROMPT)
    if name == "encoder_hidden_states":
        return (ROWS, TOKENS, TOKENS)[:axes]
    if axes < 4:
        return (ROWS,) * axes
    side = PICTURE if part == "vae_encoder" else LATENTS
    return (ROWS, 4, side, side)
