"""Says what a `.safetensors` file is, by the names and shapes in its header, where it is no Stable Diffusion 1.5.

Only what is met in the field under that ending is told apart; the rest is called unknown.
"""

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["what_it_is"]

WHOLE = "Give the whole checkpoint: one file, or the diffusers folder."
FAMILY = "Only the Stable Diffusion 1.5 family can be exported."
KINDS = (
    (r"lora_(unet|te)|.*\.(lora_|lora\.|hada_|lokr_|oft_)", f"a LoRA or one of its relatives. {WHOLE}"),
    (r"(emb_params|string_to_param.*|clip_[lg]|<.*>)$", f"an embedding (textual inversion). {WHOLE}"),
    (r"control_model\.|controlnet_|input_hint_block\.|.*zero_convs\.", f"a ControlNet. {WHOLE}"),
    (r"image_proj[._]|ip_adapter", f"an IP-Adapter. {WHOLE}"),
    (r".*motion_modules\.", f"a motion module of AnimateDiff. {WHOLE}"),
    (r"(model\.diffusion_model\.)?joint_blocks\.", f"a Stable Diffusion 3 checkpoint. {FAMILY}"),
    (r"(model\.diffusion_model\.)?double_blocks\.", f"a Flux checkpoint. {FAMILY}"),
    (r"conditioner\.embedders\.|model\.diffusion_model\.label_emb\.", f"a Stable Diffusion XL checkpoint. {FAMILY}"),
    (r"(first_stage_model|encoder|decoder)\.", f"a VAE alone. {WHOLE}"),
    (r"(cond_stage_model|text_model)\.", f"a text encoder alone. {WHOLE}"),
    (r"(down_blocks|up_blocks|mid_block|conv_in)\.", f"one part of a diffusers folder. {WHOLE}"),
)


def what_it_is(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A sentence or two: what `file` is by the `shapes` of its weights, and what to give instead."""
    for pattern, kind in KINDS:
        if any(re.match(pattern, name) for name in shapes):
            return f"{file} is {kind}"
    return f"{file} is not a checkpoint that is known here. {WHOLE}"
