"""Attention in the form that ONNX Runtime's CPU provider does best: over blocks of keys.

Operator set 23 names scaled dot-product attention `Attention` (https://onnx.ai/onnx/operators/onnx__Attention.html).
ONNX Runtime's CPU provider keeps its whole matrix of scores, 17 GB of it for a full-size UNet at 1024x1024; its own
operator `MultiHeadAttention` goes over blocks of keys instead (FlashAttention, https://arxiv.org/abs/2205.14135). It
takes and gives heads beside each other, as linear layers do, so what turns them for `Attention` goes too.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

__all__ = ["in_blocks"]

RUNTIME_OPERATORS = "com.microsoft"
"""The domain of the operators that ONNX Runtime adds."""
TURN = (0, 2, 1, 3)
PLAIN = {"is_causal": 0, "softcap": 0.0, "qk_matmul_output_mode": 0}
"""Attributes that change nothing where they have these values."""


def in_blocks(model: ir.Model, kind: ir.DataType = ir.DataType.FLOAT) -> int:
    """Replace every plain Attention on numbers of type `kind` by MultiHeadAttention, in place; how many there were.

    Nodes stay that have a mask or a cache, are causal or capped, or whose heads the graph does not count.
    """
    found = [(node, heads) for node in model.graph if (heads := _plain_heads(node, kind)) is not None]
    for node, (count, width) in found:
        _replace(model.graph, node, count, width)
    if found:
        model.opset_imports[RUNTIME_OPERATORS] = 1
        RemoveUnusedNodesPass()(model)
    return len(found)


def _plain_heads(node: ir.Node, kind: ir.DataType) -> tuple[int, int] | None:
    """How many heads an Attention on `kind` has and how wide they are, if it is scaled dot products alone."""
    if node.op_type != "Attention" or node.domain or len(node.inputs) != 3 or len(node.outputs) != 1:
        return None
    others = {name: attribute.value for name, attribute in node.attributes.items() if name != "scale"}
    query = node.inputs[0]
    if query is None or query.dtype != kind or query.shape is None or len(query.shape) != 4:
        return None
    if any(name not in PLAIN or PLAIN[name] != value for name, value in others.items()):
        return None
    count, width = query.shape[1], query.shape[3]
    return (count, width) if isinstance(count, int) and isinstance(width, int) else None


def _replace(graph: ir.Graph, node: ir.Node, count: int, width: int) -> None:
    inputs = [_beside(graph, node, value, count * width) for value in node.inputs if value is not None]
    scale = {"scale": node.attributes["scale"].as_float()} if "scale" in node.attributes else {}
    result = node.outputs[0]
    attended = ir.node(
        "MultiHeadAttention", inputs, {"num_heads": count, **scale}, domain=RUNTIME_OPERATORS, name=node.name
    )
    value = attended.outputs[0]
    value.name, value.dtype, value.shape = f"{result.name}/beside", inputs[0].dtype, inputs[0].shape
    graph.insert_before(node, attended)
    joined = _joined_after(result, count * width)
    if joined is not None:
        joined.replace_all_uses_with(value)
        return
    apart = _reshape(graph, attended, value, (0, 0, count, width), f"{result.name}/apart")
    turned = ir.node("Transpose", [apart], {"perm": TURN}, name=f"{result.name}/turned")
    graph.insert_after(apart.producer(), turned)
    turned.outputs[0].dtype, turned.outputs[0].shape = result.dtype, result.shape
    result.replace_all_uses_with(turned.outputs[0], replace_graph_outputs=True)


def _beside(graph: ir.Graph, node: ir.Node, value: ir.Value, width: int) -> ir.Value:
    """Query, key or value with its heads beside each other (rows, tokens, width): as it was before it was turned."""
    turning = value.producer()
    if turning is not None and turning.op_type == "Transpose" and tuple(turning.attributes["perm"].as_ints()) == TURN:
        parting = turning.inputs[0].producer() if turning.inputs[0] is not None else None
        source = parting.inputs[0] if parting is not None and parting.op_type == "Reshape" else None
        if source is not None and source.shape is not None and len(source.shape) == 3 and source.shape[2] == width:
            return source
    turned = ir.node("Transpose", [value], {"perm": TURN}, name=f"{value.name}/turned")
    graph.insert_before(node, turned)
    turned.outputs[0].name, turned.outputs[0].dtype = f"{value.name}/turned/out", value.dtype
    return _reshape(graph, turned, turned.outputs[0], (0, 0, width), f"{value.name}/joined")


def _joined_after(result: ir.Value, width: int) -> ir.Value | None:
    """What becomes of an attention's answer if it is turned back and joined at once, and nothing else."""
    uses = list(result.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Transpose":
        return None
    turning = uses[0].node
    after = list(turning.outputs[0].uses())
    if tuple(turning.attributes["perm"].as_ints()) != TURN or len(after) != 1 or after[0].node.op_type != "Reshape":
        return None
    joined = after[0].node.outputs[0]
    fits = joined.shape is not None and len(joined.shape) == 3 and joined.shape[2] == width
    return joined if fits and not joined.is_graph_output() else None


def _reshape(graph: ir.Graph, after: ir.Node, value: ir.Value, shape: tuple[int, ...], name: str) -> ir.Value:
    tensor = ir.tensor(np.array(shape, np.int64), name=f"{name}/shape")
    target = ir.Value(name=tensor.name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
    graph.register_initializer(target)
    node = ir.node("Reshape", [value, target], name=name)
    node.outputs[0].name, node.outputs[0].dtype = f"{name}/out", value.dtype
    graph.insert_after(after, node)
    return node.outputs[0]
