"""Fits the colours of latents: the linear map from a latent to the mean colour of the pixels that it stands for.

Least squares over what the set's own decoder makes of latents: those that its encoder gives for smooth random
pictures, whose colours cover the cube, at several strengths, since guidance makes a prediction up to twice as strong as
a picture's latents are. So it needs neither torch nor pictures, and is done alike for a checkpoint, for a set that
exists and for one that somebody else exported. At one colour a latent there is no texture to be fitted.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from outpaint_engine.tensors import Array

from .layout import MODEL_FILE

__all__ = ["fit_latent_colours"]

PICTURES, SIDE, FACTOR = 8, 128, 8
STRENGTHS = (0.6, 1.0, 1.5, 2.0)
"""8,192 latents for five unknowns a colour."""
SEED = 0


def fit_latent_colours(folder: Path, latent_scale: float) -> dict[str, Any]:
    """For the manifest of the set in `folder`: three rows of five numbers, and how well they fit.

    A row's first four factors go with the channels of scaled latents, the last number is added; colours are in [-1, 1].
    """
    moments = _run(folder / "vae_encoder", "sample", "latent_parameters", _pictures())
    latents = np.concatenate([moments[:, :4] * np.float32(strength) for strength in STRENGTHS])
    decoded = _run(folder / "vae_decoder", "latent_sample", "sample", latents)
    rows, _, height, width = latents.shape
    blocks = np.clip(decoded, -1, 1).reshape(rows, 3, height, FACTOR, width, FACTOR).mean(axis=(3, 5))
    colours = blocks.transpose(0, 2, 3, 1).reshape(-1, 3)
    known = (latents * np.float32(latent_scale)).transpose(0, 2, 3, 1).reshape(-1, 4)
    known = np.concatenate([known, np.ones_like(known[:, :1])], axis=1).astype(np.float64)
    found, *_ = np.linalg.lstsq(known, colours, rcond=None)
    error = float(np.mean((known @ found - colours) ** 2))
    return {
        "rows": [[float(f"{number:.6g}") for number in row] for row in found.T],
        "fitted_to": f"{PICTURES} smooth random pictures of {SIDE}x{SIDE} at {len(STRENGTHS)} strengths",
        "psnr": round(float(10 * np.log10(4 / max(error, 1e-12))), 1),
    }


def _pictures() -> Array:
    """float32 (n, 3, side, side) in [-1, 1]: a few random colours each, blended smoothly; the same every time."""
    rng, found = np.random.default_rng(SEED), []
    for number in range(PICTURES):
        knots = 2 + number % 4
        colours = rng.uniform(-1, 1, (3, knots, knots))
        at = np.linspace(0, knots - 1, SIDE)
        low = np.minimum(at.astype(int), knots - 2)
        share = at - low
        down = colours[:, low] * (1 - share)[:, None] + colours[:, low + 1] * share[:, None]
        found.append(down[:, :, low] * (1 - share) + down[:, :, low + 1] * share)
    return np.asarray(found, np.float32)


def _run(part: Path, name: str, output: str, rows: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(part / MODEL_FILE), options, providers=["CPUExecutionProvider"])
    kind = np.float16 if "float16" in session.get_inputs()[0].type else np.float32
    # One at a time, which needs the least memory.
    answers = [session.run([output], {name: row[None].astype(kind)})[0] for row in rows]
    return np.concatenate(answers).astype(np.float32)
