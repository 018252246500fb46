"""Which weights an ONNX graph holds, read from its file without a library for it."""

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["initializers_in"]

NAME = re.compile(rb"\x42(?=([\x80-\xff]?[\x00-\x7f]))", re.DOTALL)
"""How `TensorProto.name` begins in protobuf's encoding (onnx.proto): field 8, "bytes of a length", and the length in
one or two groups of seven bits."""


def initializers_in(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that are names of tensors in the graph at `path`; inputs of nodes are other fields."""
    content, wanted = path.read_bytes(), {name.encode(): name for name in names}
    found = set()
    for match in NAME.finditer(content):
        digits, begin = match[1], match.end() + len(match[1])
        length = digits[0] & 127 | (digits[-1] << 7 if len(digits) > 1 else 0)
        found.add(wanted.get(content[begin : begin + length]))
    return frozenset(name for name in found if name is not None)
