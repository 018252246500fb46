"""ONNX's Attention operator spelled out, for providers that run matrix products and Softmax but pass the operator by.

Operator set 23 names scaled dot-product attention `Attention`, and defines it by smaller operators
(https://onnx.ai/onnx/operators/onnx__Attention.html). OpenVINO's plug-in does not list the name, so those nodes would
be left to the CPU provider: the graph falls into pieces, and the scores of a long sequence into memory. Spelled out,
OpenVINO takes the graph whole, finds the pattern and fuses it.
"""

import math
from collections.abc import Iterator, Mapping

from .protobuf import Field, encode, fields

__all__ = ["attention_spelled_out"]

# Field numbers of onnx.proto.
MODEL_GRAPH, GRAPH_NODE, GRAPH_VALUE = 7, 1, 13
NODE_INPUT, NODE_OUTPUT, NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 2, 3, 8, 20
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_ELEMENT = 1, 2, 1, 1
FLOAT, INT, INTS = 1, 2, 7
BOOLEAN = 9

PLAIN = {"is_causal": 0, "softcap": 0, "qk_matmul_output_mode": 0}
"""Attributes that change nothing where they have these values."""

Attributes = Mapping[str, float | int | tuple[int, ...]]


def attention_spelled_out(model: bytes) -> bytes:
    """The model with each Attention node as the matrix products and the Softmax that it stands for.

    Nodes stay as they are that do more than scaled dot products over four axes, with or without a boolean mask: causal
    ones, with a cache, with a soft cap. A model without such a node is given back itself.

    Raises:
        ValueError: the bytes are not an ONNX model.
    """
    parts: list[bytes | memoryview] = []
    for field in fields(model):
        graph = _graph(field.message) if field.number == MODEL_GRAPH else None
        parts.append(field.raw if graph is None else encode(MODEL_GRAPH, graph))
    return model if all(isinstance(part, memoryview) for part in parts) else b"".join(parts)


def _graph(graph: memoryview) -> bytes | None:
    """The graph with its nodes spelled out, or None where nothing changes."""
    if not any(field.number == GRAPH_NODE and b"Attention" in bytes(field.raw) for field in fields(graph)):
        return None
    booleans = {name for name, element in _elements(graph) if element == BOOLEAN}
    parts: list[bytes | memoryview] = []
    for field in fields(graph):
        node = _Attention.of(field.message) if field.number == GRAPH_NODE else None
        if node is None or not node.plain(booleans):
            parts.append(field.raw)
        else:
            parts += [encode(GRAPH_NODE, each) for each in node.spelled_out()]
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

    def plain(self, booleans: set[str]) -> bool:
        """Whether it is scaled dot-product attention and no more."""
        others = {name: value for name, value in self._attributes.items() if name != "scale"}
        return (
            len(self._outputs) == 1
            and "" not in self._inputs
            and (len(self._inputs) == 3 or (len(self._inputs) == 4 and self._inputs[3] in booleans))
            and all(name in PLAIN and PLAIN[name] == value for name, value in others.items())
        )

    def spelled_out(self) -> Iterator[bytes]:
        """The nodes that it stands for, in their order."""
        (query, key, value, *masks), output = self._inputs, self._outputs[0]

        def local(name: str) -> str:
            return f"{output}/{name}"

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


def _elements(graph: memoryview) -> Iterator[tuple[str, int]]:
    """Names and element types of the values that the graph states."""
    for field in fields(graph):
        if field.number == GRAPH_VALUE:
            value = {each.number: each for each in fields(field.message)}
            kind = {each.number: each for each in fields(value[VALUE_TYPE].message)} if VALUE_TYPE in value else {}
            if TYPE_TENSOR in kind:
                element = {each.number: each.value for each in fields(kind[TYPE_TENSOR].message)}.get(TENSOR_ELEMENT)
                yield value[VALUE_NAME].text, element if isinstance(element, int) else 0
