"""The names of a request's options as a caller from diffusers or a web UI may write them, and what they are here."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ..errors import RequestError

__all__ = ["check_names"]

RENAMED: Mapping[str, str] = {
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "denoising_strength": "strength",
    "guidance": "guidance_scale",
    "img": "image",
    "img_height": "height",
    "img_width": "width",
    "mask_image": "mask",
    "negative": "negative_prompt",
    "num_images_per_prompt": "num_images",
    "num_steps": "num_inference_steps",
    "picture": "image",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
    "steps": "num_inference_steps",
}
EXPLAINED: Mapping[str, str] = {
    "callback": "Iterate over pipe.steps(...), which yields after each step.",
    "callback_on_step_end": "Iterate over pipe.steps(...), which yields after each step.",
    "device": "It belongs to OutpaintPipeline.from_pretrained.",
    "generator": "Give seed=7 for torch.Generator().manual_seed(7), with noise='torch-cuda' for one on CUDA.",
    "latents": "The noise is drawn from seed.",
    "output_type": "The result's images are PIL images; numpy.asarray makes arrays of them.",
    "prompt_embeds": "Give the prompt itself.",
    "return_dict": "The result is always an OutpaintResult.",
}


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Check that every name is known.

    Raises:
        RequestError: one is not; the message says what it may have meant.
    """
    names = list(known)
    for name in given:
        if name not in names:
            raise RequestError(f"There is no option {name!r}. {_advice(name, names)}")


def _advice(name: str, names: list[str]) -> str:
    if name in EXPLAINED:
        return EXPLAINED[name]
    near = [RENAMED[name]] if name in RENAMED else get_close_matches(name, names, 1)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}."
