"""What an engine set's folder is called inside: parts, graph names and the axes of each graph that stay free.

Names are those Optimum writes for diffusion pipelines (`optimum/exporters/onnx/model_configs.py`). Nothing here
imports torch, so that a folder can be adopted quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CLIP_SKIP", "GRAPHS", "MODEL_FILE", "PIPELINES", "STAGES", "SYNTHETIC", "TOKENS", "GraphNames"]

MODEL_FILE = "model.onnx"
CLIP_SKIP = "clip_skip.{}"
STAGES = ("load", "export", "check")
SYNTHETIC = ("sd15", "tiny")
"""Architectures that `outpaint-export synthetic` fills with random weights."""
PIPELINES = {4: "StableDiffusionPipeline", 9: "StableDiffusionInpaintPipeline"}
PIXELS = {0: "batch_size", 2: "height", 3: "width"}
LATENTS = {0: "batch_size", 2: "latent_height", 3: "latent_width"}
ENCODED = {0: "batch_size", 2: "height / 8", 3: "width / 8"}
DECODED = {0: "batch_size", 2: "latent_height * 8", 3: "latent_width * 8"}
"""Formulas over the names of the inputs' axes, by which Optimum finds the size of an output before it is computed."""
ROWS = {0: "batch_size"}
TOKENS = {0: "batch_size", 1: "sequence_length"}


@dataclass(frozen=True)
class GraphNames:
    """Inputs and outputs of one graph: each name with its free axes (axis number -> axis name)."""

    inputs: Mapping[str, Mapping[int, str]]
    outputs: Mapping[str, Mapping[int, str]]


GRAPHS = {
    "text_encoder": GraphNames({"input_ids": TOKENS}, {"last_hidden_state": TOKENS}),
    "unet": GraphNames(
        {"sample": PIXELS, "timestep": {0: "batch_size"}, "encoder_hidden_states": TOKENS}, {"out_sample": PIXELS}
    ),
    "vae_encoder": GraphNames({"sample": PIXELS}, {"latent_parameters": ENCODED}),
    "vae_decoder": GraphNames({"latent_sample": LATENTS}, {"sample": DECODED}),
    "tiny_decoder": GraphNames({"latent_sample": LATENTS}, {"sample": DECODED}),
    "safety_checker": GraphNames({"clip_input": ROWS}, {"image_embeds": ROWS}),
}
