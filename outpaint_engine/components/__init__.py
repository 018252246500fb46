"""The parts of the model: an engine plus names, element types and scaling, nothing else."""

from .models import Models
from .text_encoder import ADDED_WORDS, TextEncoder
from .unet import ShallowUnet, Unet
from .vae import Posterior, VaeDecoder, VaeEncoder

__all__ = ["ADDED_WORDS", "Models", "Posterior", "ShallowUnet", "TextEncoder", "Unet", "VaeDecoder", "VaeEncoder"]
