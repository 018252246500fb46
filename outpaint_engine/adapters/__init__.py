"""What is added to a loaded model from files of its own: words of textual inversion."""

from .textual_inversion import Embedding, read_embedding

__all__ = ["Embedding", "read_embedding"]
