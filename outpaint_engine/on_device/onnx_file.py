"""Writes a small ONNX model: the few messages of onnx.proto that it takes, without a library that runs do not need.

Fields and numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..tensors import Array, TensorSpec

__all__ = ["GraphWriter"]

IR_VERSION, OPSET = 10, 20
TYPES = {"float32": 1, "int32": 6, "int64": 7, "float16": 10, "float64": 11}
INT, INTS = 2, 7


@dataclass
class GraphWriter:
    """Collects nodes and constants; `written` is the model. All shapes are numbers."""

    name: str
    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)

    def node(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: int | Sequence[int]) -> str:
        """Add a node of the standard operators; the name of its first output."""
        parts = [*(_field(1, each) for each in inputs), *(_field(2, each) for each in outputs)]
        parts += [_field(3, outputs[0]), _field(4, kind)]
        parts += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return outputs[0]

    def cast(self, value: str, dtype: "np.dtype[np.generic]", output: str) -> str:
        """Add a Cast; the name of its output."""
        return self.node("Cast", [value], output, to=TYPES[dtype.name])

    def constant(self, name: str, value: Array) -> str:
        """Add a constant; its name."""
        dims = b"".join(_field(1, size) for size in value.shape)
        self._constants.append(dims + _field(2, TYPES[value.dtype.name]) + _field(8, name) + _field(9, value.tobytes()))
        return name

    def written(self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> bytes:
        """The model with these inputs and outputs."""
        graph = [_field(1, node) for node in self._nodes]
        graph += [_field(2, self.name), *(_field(5, constant) for constant in self._constants)]
        graph += [_field(11, _value(spec)) for spec in inputs.values()]
        graph += [_field(12, _value(spec)) for spec in outputs.values()]
        opset = _field(1, "") + _field(2, OPSET)
        return _field(1, IR_VERSION) + _field(7, b"".join(graph)) + _field(8, opset)


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, INT)
    return _field(1, name) + b"".join(_field(8, each) for each in value) + _field(20, INTS)


def _value(spec: TensorSpec) -> bytes:
    dims = b"".join(_field(1, _field(1, int(size))) for size in spec.shape)
    return _field(1, spec.name) + _field(2, _field(1, _field(1, TYPES[spec.dtype.name]) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protobuf message: a whole number from 0, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
