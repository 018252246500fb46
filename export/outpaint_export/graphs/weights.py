"""One weights file for all graphs of a part: writing it, and letting graphs refer to it.

Numbers lie in the file as the graphs' types say, little-endian and row by row, each at an offset that numpy and a
memory map like. Small constants that are no weights stay in the graphs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

__all__ = ["WEIGHTS_FILE", "described", "shaped", "stored_under", "write_weights"]

WEIGHTS_FILE = "model.onnx_data"
LEAST_BYTES = 1024
"""Constants smaller than this stay in the graph unless they are weights with a name."""
ALIGNMENT, PAGE, PAGED = 64, 4096, 1 << 20
"""Bytes between offsets; those of weights of 1 MiB or more begin a page."""


def write_weights(model: ir.Model, path: Path, weights: Collection[str]) -> None:
    """Write the model's weights to `path`, and let the model refer to them there; what lies in a file stays there.

    `weights` are the initializers that are written however small they are.
    """
    at, placed = 0, []
    with path.open("wb") as file:
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or _lies_beside(tensor, path):
                continue
            # One that lies in a file of another folder cannot stay there, however small it is.
            inside = tensor.nbytes < LEAST_BYTES and not isinstance(tensor, ir.ExternalTensor)
            if inside and name not in weights:
                continue
            step = PAGE if tensor.nbytes >= PAGED else ALIGNMENT
            start = -(-at // step) * step
            file.write(bytes(start - at))
            file.write(tensor.tobytes())
            at = start + tensor.nbytes
            placed.append((value, start, tensor))
    for value, start, tensor in placed:
        value.const_value = ir.ExternalTensor(
            path.name,
            start,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=str(value.name),
            base_dir=path.parent,
        )


def _lies_beside(tensor: ir.TensorProtocol, path: Path) -> bool:
    """Whether the tensor is in another weights file of the same folder."""
    return isinstance(tensor, ir.ExternalTensor) and Path(tensor.base_dir) == path.parent


@dataclass(frozen=True)
class Stored:
    """Where the numbers of one weight lie: its initializer, and whether that is turned against torch's."""

    initializer: str
    transposed: bool


def described(model: ir.Model, names: Mapping[str, Stored]) -> dict[str, dict[str, Any]]:
    """For each name that torch has for a weight: where it lies in the weights file, and as what."""
    found = {}
    for name, stored in sorted(names.items()):
        tensor = model.graph.initializers[stored.initializer].const_value
        assert isinstance(tensor, ir.ExternalTensor)
        found[name] = {
            "initializer": stored.initializer,
            "transposed": stored.transposed,
            "dtype": str(tensor.dtype.numpy()),
            "shape": list(tensor.shape.numpy()),
            "offset": tensor.offset,
        }
    return found


def stored_under(value: ir.Value) -> ir.Value:
    """The initializer behind a weight that is stored as float16 and widened by a `Cast`, else `value` itself."""
    producer = value.producer()
    if producer is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
        return producer.inputs[0] if producer.inputs[0].is_initializer() else value
    return value


def shaped(graph: ir.Graph, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    """The weight `value` (C,) in another shape: the same bytes under another name, widened where `value` is."""
    stored = stored_under(value)
    form = "x".join(map(str, shape))
    name, wide = f"{stored.name}/{form}", f"{value.name}/{form}"
    if name not in graph.initializers:
        graph.register_initializer(_alias(stored, name, ir.Shape(shape)))
    alias = graph.initializers[name]
    if stored is value:
        return alias
    for use in alias.uses():
        if use.node.outputs[0].name == wide:
            return use.node.outputs[0]
    kind = ir.DataType(value.dtype or ir.DataType.FLOAT)
    cast = ir.node("Cast", [alias], attributes={"to": kind}, name=f"widen {wide}")
    cast.outputs[0].name, cast.outputs[0].dtype, cast.outputs[0].shape = wide, value.dtype, alias.shape
    graph.insert_before(graph[0], cast)
    return cast.outputs[0]


def _alias(stored: ir.Value, name: str, shape: ir.Shape) -> ir.Value:
    tensor = stored.const_value
    assert tensor is not None
    if isinstance(tensor, ir.ExternalTensor):
        place, kind, folder = (tensor.location, tensor.offset, tensor.length), tensor.dtype, tensor.base_dir
        turned: ir.TensorProtocol = ir.ExternalTensor(*place, kind, shape=shape, name=name, base_dir=folder)
    else:
        turned = ir.tensor(tensor.numpy().reshape(shape.numpy()), name=name)
    return ir.Value(name=name, const_value=turned, shape=shape, type=ir.TensorType(tensor.dtype))
