"""What is added to a model from files of its own: words of textual inversion, and LoRA's changes of weights."""

from .changes import LayerChange, make_changes
from .lora import read_lora
from .merging import UsedLora, changeable, merged
from .strengths import checked_strength, file_and_strength
from .textual_inversion import Embedding, read_embedding

__all__ = [
    "Embedding",
    "LayerChange",
    "UsedLora",
    "changeable",
    "checked_strength",
    "file_and_strength",
    "make_changes",
    "merged",
    "read_embedding",
    "read_lora",
]
