"""Which weights an ONNX graph holds, read from its file without a library for it."""

from collections.abc import Iterable
from pathlib import Path

__all__ = ["initializers_in"]

NAME_OF_A_TENSOR = 8 << 3 | 2
"""How the field `TensorProto.name` begins in protobuf's encoding: its number and "bytes of a length" (onnx.proto)."""


def initializers_in(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that are names of tensors in the graph at `path`; inputs of nodes are other fields."""
    content = path.read_bytes()
    return frozenset(name for name in names if _encoded(name.encode()) in content)


def _encoded(name: bytes) -> bytes:
    length, digits = len(name), []
    while length >= 128:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes((NAME_OF_A_TENSOR, *digits, length)) + name
