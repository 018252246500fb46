"""ONNX's Attention operator in the form that a provider does best.

Operator set 23 names scaled dot-product attention `Attention`, and defines it by smaller operators
(https://onnx.ai/onnx/operators/onnx__Attention.html). ONNX Runtime's CPU provider keeps its whole matrix of scores,
17 GB of it for a full-size UNet at 1024x1024; its own operator `MultiHeadAttention` goes over blocks of keys instead
(FlashAttention, https://arxiv.org/abs/2205.14135). OpenVINO's plug-in does not list the name, so those nodes would be
left to the CPU provider and the graph would fall into pieces. Spelled out, OpenVINO takes the graph whole, finds the
pattern and fuses it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from .protobuf import Field, encode, fields

__all__ = ["attention_in_blocks", "attention_spelled_out"]

# Field numbers of onnx.proto.
MODEL_GRAPH, MODEL_OPSET, OPSET_DOMAIN, OPSET_VERSION, GRAPH_NODE, GRAPH_VALUE = 7, 8, 1, 2, 1, 13
NODE_INPUT, NODE_OUTPUT, NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 2, 3, 8, 20
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_AXIS, AXIS_SIZE = 1, 2, 1, 1, 2, 1, 1
FLOAT, INT, INTS = 1, 2, 7
FLOAT32, BOOLEAN = 1, 9
RUNTIME_OPERATORS = "com.microsoft"
"""The domain of the operators that ONNX Runtime adds."""

PLAIN = {"is_causal": 0, "softcap": 0, "qk_matmul_output_mode": 0}
"""Attributes that change nothing where they have these values."""

Attributes = Mapping[str, float | int | tuple[int, ...]]


class _Value(NamedTuple):
    """What a graph states of a value: its element type, and its axes, None where an axis is free."""

    element: int
    shape: tuple[int | None, ...]


Values = Mapping[str, _Value]


def attention_spelled_out(model: bytes) -> bytes:
    """The model with each Attention node as the matrix products and the Softmax that it stands for.

    Nodes stay as they are that do more than scaled dot products over four axes, with or without a boolean mask: causal
    ones, with a cache, with a soft cap. A model without such a node is given back itself.

    Raises:
        ValueError: the bytes are not an ONNX model.
    """
    return _rewritten(model, lambda node, values: node.spelled_out() if node.plain(values) else None)


def attention_in_blocks(model: bytes) -> bytes:
    """The model with each Attention node as ONNX Runtime's MultiHeadAttention, which holds no whole matrix of scores.

    Besides those that `attention_spelled_out` leaves, nodes stay that have a mask, that are not in float32, or whose
    heads the graph does not count. A model without another node is given back itself.

    Raises:
        ValueError: the bytes are not an ONNX model.
    """

    def in_blocks(node: _Attention, values: Values) -> Iterator[bytes] | None:
        heads = node.heads(values)
        return node.in_blocks(*heads) if heads and node.plain(values) else None

    found = _rewritten(model, in_blocks)
    operators = encode(OPSET_DOMAIN, RUNTIME_OPERATORS) + encode(OPSET_VERSION, 1)
    return model if found is model else found + encode(MODEL_OPSET, operators)


def _rewritten(model: bytes, form: "Callable[[_Attention, Values], Iterator[bytes] | None]") -> bytes:
    """The model with each Attention node as the nodes that `form` makes of it, or None to keep it."""
    parts: list[bytes | memoryview] = []
    for field in fields(model):
        graph = _graph(field.message, form) if field.number == MODEL_GRAPH else None
        parts.append(field.raw if graph is None else encode(MODEL_GRAPH, graph))
    return model if all(isinstance(part, memoryview) for part in parts) else b"".join(parts)


def _graph(graph: memoryview, form: "Callable[[_Attention, Values], Iterator[bytes] | None]") -> bytes | None:
    """The graph with its nodes rewritten, or None where nothing changes."""
    if not any(field.number == GRAPH_NODE and b"Attention" in bytes(field.raw) for field in fields(graph)):
        return None
    values = dict(_values(graph))
    parts: list[bytes | memoryview] = []
    for field in fields(graph):
        node = _Attention.of(field.message) if field.number == GRAPH_NODE else None
        nodes = form(node, values) if node else None
        if nodes is None:
            parts.append(field.raw)
        else:
            parts += [encode(GRAPH_NODE, each) for each in nodes]
    return None if all(isinstance(part, memoryview) for part in parts) else b"".join(parts)


class _Attention:
    """A node: softmax(query key^T scale [+ mask]) value, the scale 1 / sqrt(width of a head) unless it is stated."""

    def __init__(self, found: list[Field]) -> None:
        self._inputs = [field.text for field in found if field.number == NODE_INPUT]
        self._outputs = [field.text for field in found if field.number == NODE_OUTPUT]
        self._attributes = dict(_attribute(field.message) for field in found if field.number == NODE_ATTRIBUTE)

    @classmethod
    def of(cls, node: memoryview) -> "_Attention | None":
        """The node if it is one."""
        found = list(fields(node))
        types = [field.text for field in found if field.number == NODE_TYPE]
        domains = [field.text for field in found if field.number == NODE_DOMAIN]
        return cls(found) if types == ["Attention"] and not any(domains) else None

    def plain(self, values: Values) -> bool:
        """Whether it is scaled dot-product attention and no more."""
        others = {name: value for name, value in self._attributes.items() if name != "scale"}
        masks = [values[name].element if name in values else 0 for name in self._inputs[3:]]
        return (
            len(self._outputs) == 1
            and "" not in self._inputs
            and len(self._inputs) >= 3
            and masks in ([], [BOOLEAN])
            and all(name in PLAIN and PLAIN[name] == value for name, value in others.items())
        )

    def heads(self, values: Values) -> tuple[int, int] | None:
        """How many heads it has and how wide they are, if it has no mask, is in float32 and the graph states both."""
        query = values.get(self._inputs[0])
        if query is None or query.element != FLOAT32 or len(self._inputs) != 3 or len(query.shape) != 4:
            return None
        _, count, _, width = query.shape
        return (count, width) if count and width else None

    def in_blocks(self, count: int, width: int) -> Iterator[bytes]:
        """MultiHeadAttention, which takes and gives heads beside each other, and what turns them that way and back."""
        local = self._local
        yield _node("Constant", [], local("beside"), {"value_ints": (0, 0, count * width)})
        yield _node("Constant", [], local("apart"), {"value_ints": (0, 0, count, width)})
        for number, name in enumerate(self._inputs):
            yield _node("Transpose", [name], local(f"turned{number}"), {"perm": (0, 2, 1, 3)})
            yield _node("Reshape", [local(f"turned{number}"), local("beside")], local(f"joined{number}"))
        joined = [local(f"joined{number}") for number in range(3)]
        scale = {"scale": self._attributes["scale"]} if "scale" in self._attributes else {}
        attention = _node("MultiHeadAttention", joined, local("attended"), {"num_heads": count, **scale})
        yield attention + encode(NODE_DOMAIN, RUNTIME_OPERATORS)
        yield _node("Reshape", [local("attended"), local("apart")], local("parted"))
        yield _node("Transpose", [local("parted")], self._outputs[0], {"perm": (0, 2, 1, 3)})

    def spelled_out(self) -> Iterator[bytes]:
        """The nodes that it stands for, in their order."""
        (query, key, value, *masks), output, local = self._inputs, self._outputs[0], self._local
        yield _node("Transpose", [key], local("keys"), {"perm": (0, 1, 3, 2)})
        yield _node("MatMul", [query, local("keys")], local("products"))
        if "scale" in self._attributes:
            yield _node("Constant", [], local("scale"), {"value_float": self._attributes["scale"]})
            yield _node("CastLike", [local("scale"), query], local("factor"))
            yield _node("Mul", [local("products"), local("factor")], local("scores"))
        else:
            yield _node("Shape", [query], local("width"), {"start": 3})
            yield _node("CastLike", [local("width"), query], local("size"))
            yield _node("Sqrt", [local("size")], local("root"))
            yield _node("Div", [local("products"), local("root")], local("scores"))
        seen = local("scores")
        if masks:
            yield _node("Constant", [], local("never"), {"value_float": -math.inf})
            yield _node("CastLike", [local("never"), query], local("hidden"))
            yield _node("Where", [masks[0], local("scores"), local("hidden")], local("seen"))
            seen = local("seen")
        yield _node("Softmax", [seen], local("weights"), {"axis": 3})
        yield _node("MatMul", [local("weights"), value], output)

    def _local(self, name: str) -> str:
        return f"{self._outputs[0]}/{name}"


def _node(kind: str, inputs: list[str], output: str, attributes: Attributes | None = None) -> bytes:
    return b"".join(
        [
            *(encode(NODE_INPUT, name) for name in inputs),
            encode(NODE_OUTPUT, output),
            encode(NODE_TYPE, kind),
            *(encode(NODE_ATTRIBUTE, _attribute_of(name, value)) for name, value in (attributes or {}).items()),
        ]
    )


def _attribute_of(name: str, value: float | int | tuple[int, ...]) -> bytes:
    if isinstance(value, tuple):
        content = [encode(ATTRIBUTE_INTS, each) for each in value] + [encode(ATTRIBUTE_TYPE, INTS)]
    elif isinstance(value, float):
        content = [encode(ATTRIBUTE_FLOAT, value), encode(ATTRIBUTE_TYPE, FLOAT)]
    else:
        content = [encode(ATTRIBUTE_INT, value), encode(ATTRIBUTE_TYPE, INT)]
    return b"".join([encode(ATTRIBUTE_NAME, name), *content])


def _attribute(attribute: memoryview) -> tuple[str, float | int]:
    """Name and value, for values that are one number; 0 is not written down."""
    name, value = "", 0.0
    for field in fields(attribute):
        if field.number == ATTRIBUTE_NAME:
            name = field.text
        elif field.number == ATTRIBUTE_FLOAT:
            value = field.message.cast("f")[0]
        elif field.number == ATTRIBUTE_INT:
            value = field.value if isinstance(field.value, int) else 0
    return name, value


def _values(graph: memoryview) -> Iterator[tuple[str, _Value]]:
    """Names of the values whose types the graph states, and what it states."""
    for field in fields(graph):
        if field.number == GRAPH_VALUE:
            value = _latest(field.message)
            kind = _latest(value[VALUE_TYPE].message) if VALUE_TYPE in value else {}
            if TYPE_TENSOR in kind:
                tensor = _latest(kind[TYPE_TENSOR].message)
                axes = fields(tensor[TENSOR_SHAPE].message) if TENSOR_SHAPE in tensor else ()
                sizes = [_latest(axis.message).get(AXIS_SIZE) for axis in axes if axis.number == SHAPE_AXIS]
                shape = tuple(size.value if size and isinstance(size.value, int) else None for size in sizes)
                element = tensor[TENSOR_ELEMENT].value if TENSOR_ELEMENT in tensor else 0
                yield value[VALUE_NAME].text, _Value(element if isinstance(element, int) else 0, shape)


def _latest(message: memoryview) -> dict[int, Field]:
    """The fields of a message by number; of several, the last."""
    return {field.number: field for field in fields(message)}
