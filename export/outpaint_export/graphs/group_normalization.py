"""GroupNormalization in two passes and in stages, exact on flat pictures as well.

ONNX defines GroupNormalization by smaller operators, and its variance as E[x^2] - E[x]^2, which loses digits where a
picture is flat. ONNX Runtime has no kernel for it on CPU or CUDA and runs those smaller operators, about 28.
InstanceNormalization over groups has a kernel, which takes the mean first, but sums a million numbers in float32 one
after the other, and so does OpenVINO's: equal ones, as a flat picture has, round the same way each time, and the VAE
encoder is 5e-3 off. Here the mean of each row is taken first and then the mean of those, and so are the squares of
what differs from it: 100 times closer, in half the time of the defining operators.
"""

import numpy as np
import onnx_ir as ir

from .weights import shaped

__all__ = ["GROUPS", "in_two_passes"]

GROUPS = "/groups"
"""What the names of all nodes that stand for a normalisation have in common; they are to stay in float32."""

FIRST_VERSION = 21
"""Of the operator set in which scale and bias have an entry a channel; before, one a group."""


def in_two_passes(model: ir.Model) -> int:
    """Replace every GroupNormalization, in place; how many there were."""
    if model.opset_imports.get("", 0) < FIRST_VERSION:
        return 0
    found = [node for node in model.graph if node.op_type == "GroupNormalization" and not node.domain]
    for node in found:
        _replace(model.graph, node)
    return len(found)


def _replace(graph: ir.Graph, node: ir.Node) -> None:
    given, scale, bias = node.inputs
    result = node.outputs[0]
    assert given is not None and scale is not None and bias is not None
    assert given.shape is not None and scale.shape is not None
    groups, channels, axes = node.attributes["num_groups"].as_int(), int(scale.shape[0]), len(given.shape)
    kind = given.dtype or ir.DataType.FLOAT
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    new = _Nodes(graph, node, kind, f"{result.name}{GROUPS}")
    # Rows of a picture stay rows: 0 takes over an axis of the input.
    apart = (0, groups, -1, 0) if axes == 4 else (0, groups, channels // groups, -1)
    rows, whole = new.whole("rows", (3,)), new.whole("whole", (2,))
    grouped = new.add("Reshape", "grouped", given, new.whole("grouped", apart))
    mean = new.add("ReduceMean", "mean", new.add("ReduceMean", "row means", grouped, rows), whole)
    centred = new.add("Sub", "centred", grouped, mean)
    squares = new.add("ReduceMean", "squares", new.add("ReduceSumSquare", "row squares", centred, rows), whole)
    length = new.add("Shape", "length", centred, start=3, end=4)
    length.dtype = ir.DataType.INT64
    variance = new.add("Div", "variance", squares, new.add("Cast", "row length", length, to=kind))
    small = _constant(graph, f"epsilon.{epsilon:g}.{kind}", np.array(epsilon, kind.numpy()))
    deviation = new.add("Sqrt", "deviation", new.add("Add", "bounded", variance, small))
    factor = new.add("Div", "factor", shaped(graph, scale, (groups, channels // groups, 1)), deviation)
    beside = (0, channels, *[1] * (axes - 2))
    joined = new.add("Reshape", "joined", centred, new.whole("joined", (0, channels, -1, 0)[:axes]))
    scaled = new.add("Mul", "scaled", joined, new.add("Reshape", "factors", factor, new.whole("factors", beside)))
    shifted = new.add("Add", "shifted", scaled, shaped(graph, bias, (channels, *[1] * (axes - 2))))
    for value in (joined, scaled, shifted):
        value.shape = given.shape
    result.replace_all_uses_with(shifted, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    shifted.name = result.name


class _Nodes:
    """Adds nodes in front of the one that they replace."""

    def __init__(self, graph: ir.Graph, before: ir.Node, kind: ir.DataType, name: str) -> None:
        self._graph, self._before, self._kind, self._name = graph, before, kind, name

    def add(self, operator: str, name: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        """A node's only output."""
        node = ir.node(operator, list(inputs), attributes, name=f"{self._name}/{name}")
        node.outputs[0].name, node.outputs[0].dtype = f"{self._name}/{name}/out", self._kind
        self._graph.insert_before(self._before, node)
        return node.outputs[0]

    def whole(self, name: str, numbers: tuple[int, ...]) -> ir.Value:
        """A constant of whole numbers."""
        return _constant(self._graph, f"{GROUPS}/{name}.{'.'.join(map(str, numbers))}", np.array(numbers, np.int64))


def _constant(graph: ir.Graph, name: str, numbers: np.ndarray) -> ir.Value:
    """A small constant, one for all nodes that want it."""
    if name not in graph.initializers:
        tensor = ir.tensor(numbers, name=name)
        value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
        graph.register_initializer(value)
    return graph.initializers[name]
