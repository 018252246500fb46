"""The parts of the model: an engine plus names, element types and scaling, nothing else."""

from .models import Models
from .text_encoder import ADDED_WORDS, TextEncoder
from .unet import ShallowUnet, Unet
from .vae import TINY_DECODER, Posterior, TinyDecoder, VaeDecoder, VaeEncoder

__all__ = [
    "ADDED_WORDS",
    "TINY_DECODER",
    "Models",
    "Posterior",
    "ShallowUnet",
    "TextEncoder",
    "TinyDecoder",
    "Unet",
    "VaeDecoder",
    "VaeEncoder",
]
