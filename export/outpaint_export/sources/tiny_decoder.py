"""Finds the tiny decoder that a set is to have: an AutoencoderTiny (TAESD), as diffusers saves it."""

from collections.abc import Callable

from diffusers import AutoencoderTiny
from torch import nn

from ..errors import SourceError
from .checkpoint import COLOURS, LATENT_CHANNELS, LATENT_FACTOR
from .optional import optional_folder, optional_module

__all__ = ["check_tiny_decoder", "open_tiny_decoder"]

KIND = ("diffusion_pytorch_model", "_class_name", "AutoencoderTiny")
"""As an entry of `folders.PARTS`."""
PLACES = (".", "vae")
"""Where in a folder it may be: a model of its own, or a pipeline's."""
LEAVE_OUT = "To export without one, leave `--tiny-decoder` out."


def open_tiny_decoder(named: str) -> Callable[[], nn.Module]:
    """A function that loads the autoencoder in the folder, or of the hub id, `named`.

    Raises:
        SourceError: there is none, or it is of another kind or a pickle.
    """
    for place in PLACES:
        parts = {place: KIND}
        folder = optional_folder(named, None, parts, (), LEAVE_OUT)
        if (folder / place / "config.json").is_file():
            return optional_module(AutoencoderTiny, folder, parts, LEAVE_OUT)
    raise SourceError(
        f"{named} has no tiny decoder: expected config.json and {KIND[0]}.safetensors of an AutoencoderTiny, in it or "
        f"in its folder vae. {LEAVE_OUT}"
    )


def check_tiny_decoder(module: AutoencoderTiny) -> None:
    """Raise a `SourceError` unless it makes RGB at eight times the size of four latent channels, not shifted."""
    config = module.config
    factor = int(config["upsampling_scaling_factor"]) ** (len(config["num_decoder_blocks"]) - 1)
    colours, channels, shift = int(config["out_channels"]), int(config["latent_channels"]), config["shift_factor"]
    if (channels, colours, factor, shift) != (LATENT_CHANNELS, COLOURS, LATENT_FACTOR, 0):
        raise SourceError(
            f"The tiny decoder makes {colours} colours at {factor} times the size of {channels} latent channels, "
            f"shifted by {shift:g}; those of Stable Diffusion 1.5 are {LATENT_CHANNELS} at an eighth of the size, not "
            f"shifted. {LEAVE_OUT}"
        )
