"""Rewrites a float32 graph as a typed float16 one: every tensor has the type that it is computed in.

Engines for NVIDIA GPUs compute what the graph's types say: ONNX Runtime's CUDA provider does, and TensorRT 11 and
TensorRT-RTX have no precision flags (a "strongly typed" network). Inputs and outputs of the graph keep their types, so
engines of both kinds are fed alike.
"""

from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from ..errors import ConversionError
from .float32_islands import float32_nodes, is_constant, is_real

__all__ = ["to_half", "write_half"]

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
ANY_TYPE = ("Shape", "Size")
"""Operators that look at no number, so that their input may have any type."""
FLOAT32_INPUTS = {("Resize", 1), ("Resize", 2)}
"""Operator and input whose type is float32 whatever the operator computes in: region and scales."""
LARGEST = float(np.finfo(np.float16).max)
EMBEDDED_BYTES = 1_500_000_000


def write_half(source: Path, part: str, path: Path) -> None:
    """Write the typed float16 graph of the ONNX file `source` to `path`, large weights beside it in `path` + "_data".

    Raises:
        ConversionError: a weight has a value that float16 cannot hold, or its file cannot be read.
    """
    model = ir.load(source)
    ShapeInferencePass()(model)
    try:
        to_half(model, part)
    except ValueError as error:
        # onnx-ir's answer to weights in a file that is a link, also a hard one, or too short.
        raise ConversionError(f"The weights of {source} cannot be read: {error}. Copy the files themselves.") from error
    weights = (value.const_value for value in model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    if size < EMBEDDED_BYTES:
        # What was not converted refers to the source's weights file, which is not beside `path`.
        ir.external_data.load_to_model(model)
    ir.save(model, path, external_data=None if size < EMBEDDED_BYTES else f"{path.name}_data")


def to_half(model: ir.Model, part: str) -> None:
    """Give every operator of `model` the type it computes in, float16 but for `float32_nodes`, in place.

    Casts are put where the type changes. All values must have types, as exporters write them or inference finds them.
    """
    graph = model.graph
    kept, typed = float32_nodes(graph, part), _Typed(graph)
    for node in list(graph):
        if node.op_type in ANY_TYPE or (node.op_type == "Cast" and is_constant(node.outputs[0])):
            continue
        wanted = FLOAT if node in kept else HALF
        reals = [
            (index, value)
            for index, value in enumerate(node.inputs)
            if value is not None and is_real(value) and (node.op_type, index) not in FLOAT32_INPUTS
        ]
        for index, value in reals:
            node.replace_input_with(index, typed.value(value, wanted))
        if node.op_type == "Cast" and is_real(node.outputs[0]):
            node.attributes["to"] = ir.AttrInt64("to", wanted)
        elif not reals:
            continue
        for value in node.outputs:
            if is_real(value):
                value.dtype = wanted
    typed.restore_outputs()
    RemoveUnusedNodesPass()(model)


class _Typed:
    """The values of a graph in either type; each cast and each converted weight is made once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def value(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        """`value`, with the type `wanted`."""
        if value.dtype == wanted and not (is_constant(value) and value.producer()):
            return value
        key = value, wanted
        if key not in self._made:
            self._made[key] = self._weight(*key) if is_constant(value) else self._cast(*key)
        return self._made[key]

    def restore_outputs(self) -> None:
        """Let the graph give float32 under its outputs' names."""
        for index, value in enumerate(self._graph.outputs):
            if value.dtype == HALF:
                name, value.name = value.name, f"{value.name}.{HALF}"
                self._graph.outputs[index] = self._cast(value, FLOAT)
                self._graph.outputs[index].name = name

    def _cast(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        cast = ir.node("Cast", [value], attributes={"to": wanted}, name=f"{value.name} to {wanted}")
        result, producer = cast.outputs[0], value.producer()
        result.name, result.shape, result.dtype = f"{value.name}.{wanted}", value.shape, wanted
        if producer is None:
            self._graph.insert_before(self._graph[0], cast)
        else:
            self._graph.insert_after(producer, cast)
        return result

    def _weight(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        producer = value.producer()
        stored = value if producer is None else producer.inputs[0]
        assert stored is not None and stored.const_value is not None
        if stored.dtype == wanted:
            return stored
        name, tensor = f"{stored.name}.{wanted}", stored.const_value
        if wanted == HALF and not np.abs(tensor.numpy()).max(initial=0) <= LARGEST:
            raise ConversionError(
                f"The weight {stored.name} holds values beyond {LARGEST:g}, which float16 cannot hold, so it cannot "
                "be computed in float16. Export with `--precision fp32`, for a backend that computes in float32."
            )
        # Converted when it is written, so that a large graph is never in memory twice.
        lazy = ir.LazyTensor(partial(_converted, tensor, wanted, name), dtype=wanted, shape=tensor.shape, name=name)
        weight = ir.Value(name=name, const_value=lazy, shape=tensor.shape, type=ir.TensorType(wanted))
        self._graph.register_initializer(weight)
        return weight


def _converted(tensor: ir.TensorProtocol, wanted: ir.DataType, name: str) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(wanted.numpy()), name=name)
