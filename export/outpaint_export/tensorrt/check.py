"""Compares a typed float16 graph with the graph it was made from, on ONNX Runtime's CPU provider.

What the comparison finds is the rounding of weights and activations and any mistake in the types, not what a GPU's
kernels add. It runs before a plan is built, at 128x128 pixels, so that it takes seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from outpaint_engine.engine_set import Artifact
from outpaint_engine.tensors import Array

from ..errors import ParityError
from .profiles import axis_sizes, shape_of

__all__ = ["BOUND", "compare_half"]

BOUND = 2e-2
"""Largest difference, relative to the largest answer. float16 is good to 5e-4 at every operator."""
SIZE, ROWS = (128, 128), 2
TIMESTEPS, TOKENS, LATENT_SPREAD = 999, 64, 5.5
"""The last timestep; token ids that even a tiny tokenizer has; the standard deviation of latents before the decoder."""


def compare_half(source: Path, half: Path, artifact: Artifact, factor: int) -> dict[str, Any]:
    """Run both graphs on the same random inputs and return the figures for the manifest.

    Raises:
        ParityError: the difference is over `BOUND`, or an answer is not a number.
    """
    feeds = _feeds(artifact, factor)
    expected, answer = _run(source, feeds), _run(half, feeds)
    differences = [float(np.abs(a - b).max()) for a, b in zip(expected, answer, strict=True)]
    relative = max(d / max(float(np.abs(a).max()), 1e-12) for d, a in zip(differences, expected, strict=True))
    # A NaN compares false with everything, so it is asked for what is allowed and not for what is too much.
    if not relative <= BOUND:
        raise ParityError(
            f"The float16 graph of the {artifact.part} is off by {relative:.2g} relative; {BOUND:g} is allowed. This "
            "checkpoint needs float32: use ort-cpu, openvino or ort-cuda."
        )
    return {
        "reference": artifact.file,
        "runtime": f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider, the typed graph before it was built",
        "bound": BOUND,
        "max_abs_error": max(differences),
        "max_rel_error": relative,
        "cases": [{"shapes": {name: list(value.shape) for name, value in feeds.items()}}],
    }


def _feeds(artifact: Artifact, factor: int) -> dict[str, Array]:
    """Random inputs, as large as real ones are."""
    rng = np.random.default_rng(0)
    axes = axis_sizes(artifact.part, SIZE, ROWS, factor)
    feeds: dict[str, Array] = {}
    for item in artifact.inputs:
        shape, name = shape_of(item, axes), item["name"]
        if np.issubdtype(np.dtype(item["dtype"]), np.integer):
            feeds[name] = rng.integers(0, TOKENS, shape).astype(item["dtype"])
        elif name == "timestep":
            feeds[name] = rng.uniform(0, TIMESTEPS, shape).astype(item["dtype"])
        else:
            spread = LATENT_SPREAD if name == "latent_sample" else 1
            feeds[name] = (rng.standard_normal(shape) * spread).astype(item["dtype"])
    return feeds


def _run(graph: Path, feeds: dict[str, Array]) -> Sequence[Array]:
    options = onnxruntime.SessionOptions()
    # One small call does not earn a second copy of all weights.
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    answers: Sequence[Array] = session.run(None, feeds)
    return answers
