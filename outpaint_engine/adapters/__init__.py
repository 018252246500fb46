"""What is added to a model from files of its own: words of textual inversion, and LoRA's changes of weights."""

from .lora import LayerChange, read_lora
from .textual_inversion import Embedding, read_embedding

__all__ = ["Embedding", "LayerChange", "read_embedding", "read_lora"]
