"""What torch calls each weight of a graph, read from the graph itself, so that it can be told without torch.

Exporters keep the names of weights that they store as torch has them. Those of linear layers are stored turned, for
MatMul, and lose their names; each is found again by what it stands beside: the bias added after it, or the attention
that it leads to, whose last layer has a bias. Graphs that torch's older exporter wrote name nodes after modules.
"""

import re
from collections.abc import Iterator

import onnx_ir as ir

from .weights import Stored, stored_under

__all__ = ["torch_names", "without_module"]

MODULES = re.compile(r"^(text_encoder|unet|vae|safety_checker)\.")
"""The attribute that a part's module has inside `modules`."""
TEXT_MODEL = re.compile(r"^text_model\.")
"""Older versions of transformers keep CLIP's text transformer under this name, newer ones do not."""
TYPED = re.compile(r"\.(fp16|FLOAT16|FLOAT)$")
"""What a converted weight's name ends with."""
WEIGHT = re.compile(r"^[A-Za-z]\w*(\.\w+)*\.(weight|bias)$")
MODULE_OF_NODE = re.compile(r"^/(.+)/MatMul(_\d+)?$")
PROJECTIONS = ("to_q", "to_k", "to_v")
PASSED = ("Reshape", "Transpose", "Cast")
LAST_BIAS = re.compile(r"^(.*)\.(to_out\.0|out_proj)\.bias$")


def torch_names(graph: ir.Graph) -> dict[str, Stored]:
    """For each weight that can be told, torch's name for it in the part's own module, and where it is stored."""
    found: dict[str, Stored] = {}
    nameless = []
    for initializer in graph.initializers.values():
        name = _own_name(initializer)
        if name is not None:
            found[name] = Stored(str(initializer.name), transposed=False)
        elif initializer.shape is not None and len(initializer.shape) == 2:
            nameless.append(initializer)
    for initializer in nameless:
        for node in _products(initializer):
            name = _name_of_node(node) or _name_by_bias(node) or _name_by_attention(node)
            if name is not None and name not in found:
                found[name] = Stored(str(initializer.name), transposed=True)
    return found


def without_module(name: str) -> str:
    """A weight's name in the part's own module, of its name in a graph."""
    return TEXT_MODEL.sub("", MODULES.sub("", TYPED.sub("", name)))


def _own_name(initializer: ir.Value) -> str | None:
    name = without_module(str(initializer.name))
    return name if WEIGHT.match(name) else None


def _products(initializer: ir.Value) -> Iterator[ir.Node]:
    """The matrix products whose second factor is this weight, as it is or widened."""
    for use in initializer.uses():
        if use.node.op_type == "MatMul" and use.idx == 1:
            yield use.node
        elif use.node.op_type == "Cast":
            yield from _products(use.node.outputs[0])


def _name_of_node(product: ir.Node) -> str | None:
    found = MODULE_OF_NODE.match(str(product.name or ""))
    return None if found is None else TEXT_MODEL.sub("", found[1].replace("/", ".")) + ".weight"


def _name_by_bias(product: ir.Node) -> str | None:
    bias = _bias_after(product.outputs[0])
    return None if bias is None else bias.removesuffix(".bias") + ".weight"


def _bias_after(value: ir.Value) -> str | None:
    """The name of the bias that is added to `value` next."""
    for use in value.uses():
        if use.node.op_type == "Cast":
            return _bias_after(use.node.outputs[0])
        if use.node.op_type == "Add":
            other = use.node.inputs[1 - use.idx]
            stored = stored_under(other) if other is not None else None
            name = _own_name(stored) if stored is not None and stored.is_initializer() else None
            # One that several layers share, as a new model's zeros, tells nothing.
            alone = other is not None and stored is not None and len(other.uses()) == len(stored.uses()) == 1
            if alone and name is not None and name.endswith(".bias"):
                return name
    return None


def _name_by_attention(product: ir.Node) -> str | None:
    """The name of a projection without a bias: that of the attention that it leads to, and its place there."""
    value = product.outputs[0]
    for _ in range(4):
        uses = [use for use in value.uses() if use.node.op_type in (*PASSED, "Attention")]
        if not uses:
            return None
        node, place = uses[0].node, uses[0].idx
        if node.op_type == "Attention":
            prefix = _attention_name(node.outputs[0])
            return f"{prefix}.{PROJECTIONS[place]}.weight" if prefix and place < len(PROJECTIONS) else None
        value = node.outputs[0]
    return None


def _attention_name(value: ir.Value) -> str | None:
    """The name of the module whose attention gives `value`, from the bias of its last layer."""
    for _ in range(5):
        bias = _bias_after(value)
        if bias is not None:
            found = LAST_BIAS.match(bias)
            return found[1] if found else None
        following = [use.node for use in value.uses() if use.node.op_type in (*PASSED, "MatMul")]
        if not following:
            return None
        value = following[0].outputs[0]
    return None
