"""A float16 graph in the operators that ONNX Runtime's CUDA provider has one kernel each for.

What the exported graph spells out costs a launch a node there, and most layers of a UNet at 512x512 are shorter than a
launch. `com.microsoft` has kernels that do several of them at once
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md):

| in the graph | becomes |
|---|---|
| Cast, GroupNormalization, Cast, and SiLU where it follows | GroupNorm, channels last, its sums in float32 |
| Cast, LayerNormalization, Cast | LayerNormalization in float16, whose kernel sums in float32 |
| Attention between Reshape and Transpose | MultiHeadAttention, heads beside each other |
| Add, Split, Gelu, Mul | BiasSplitGelu |
| Conv | NhwcConv with turned weights |

Transposes around GroupNorm and NhwcConv meet and go when a session is made.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter.pattern import MatchResult, RewriteRuleClassBase, RewriteRuleSet

from .attention import RUNTIME_OPERATORS, in_blocks

__all__ = ["computes_in_half", "for_cuda"]

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Permutations that put the channels last, and back behind the rows."""
GATED_WIDTHS = (2560, 5120, 6144, 10240, 12288)
"""Channels that the kernel of BiasSplitGelu is compiled for, both halves together; Stable Diffusion 1.5 has three."""


def computes_in_half(model: ir.Model) -> bool:
    """Whether matrix products and convolutions are typed float16."""
    return any(node.op_type in ("Conv", "MatMul") and node.outputs[0].dtype == HALF for node in model.graph)


def for_cuda(model: ir.Model) -> dict[str, int]:
    """Rewrite a typed float16 graph, in place; how many nodes there now are of each operator that was put in.

    The graph must still have GroupNormalization in one node. Weights that a kernel wants turned are new initializers.
    """
    for rules in RULES:
        rules.apply_to_model(model)
    in_blocks(model, HALF)
    for node in [node for node in model.graph if node.op_type == "Conv" and not node.domain]:
        _channels_last(model.graph, node)
    model.opset_imports[RUNTIME_OPERATORS] = 1
    RemoveUnusedNodesPass()(model)
    names = ("GroupNorm", "LayerNormalization", "MultiHeadAttention", "BiasSplitGelu", "NhwcConv")
    return {name: sum(node.op_type == name for node in model.graph) for name in names}


def _narrow(wide: ir.Value) -> ir.Value | None:
    """The float16 value that was widened to `wide`, which others may use too."""
    cast = wide.producer()
    given = cast.inputs[0] if cast is not None and cast.op_type == "Cast" else None
    return given if given is not None and given.dtype == HALF else None


class _GroupNormalization(RewriteRuleClassBase):
    """One that was kept in float32 between two casts; with `silu`, x sigmoid(x) of its answer too."""

    def __init__(self, name: str, silu: bool) -> None:
        super().__init__(name)
        self._silu = silu

    def pattern(self, op: Any, wide: ir.Value, scale: ir.Value, bias: ir.Value) -> Any:
        normal = op.GroupNormalization(wide, scale, bias, _outputs=["normal"], _allow_other_attributes=True)
        y = op.Cast(normal, to=HALF)
        return op.Mul(y, op.Sigmoid(y)) if self._silu else y

    def check(self, context: Any, wide: ir.Value, **_: Any) -> MatchResult:
        """The kernel takes pictures only: rows, channels, height, width."""
        result, given = MatchResult(), _narrow(wide)
        picture = given is not None and given.shape is not None and len(given.shape) == 4
        return result if picture else result.fail("not a float16 picture", wide)

    def rewrite(self, op: Any, wide: ir.Value, scale: ir.Value, bias: ir.Value, normal: ir.Value) -> Any:
        node = normal.producer()
        assert node is not None
        last = op.GroupNorm(
            op.Transpose(_narrow(wide), perm=LAST),
            scale,
            bias,
            epsilon=node.attributes["epsilon"].as_float(),
            groups=node.attributes["num_groups"].as_int(),
            activation=int(self._silu),
            channels_last=1,
            _domain=RUNTIME_OPERATORS,
        )
        return op.Transpose(last, perm=FIRST)


class _LayerNormalization(RewriteRuleClassBase):
    """One that was kept in float32 between two casts."""

    def pattern(self, op: Any, wide: ir.Value, scale: ir.Value, bias: ir.Value) -> Any:
        normal = op.LayerNormalization(wide, scale, bias, _outputs=["normal"], _allow_other_attributes=True)
        return op.Cast(normal, to=HALF)

    def check(self, context: Any, wide: ir.Value, scale: ir.Value, bias: ir.Value, **_: Any) -> MatchResult:
        result = MatchResult()
        known = scale.is_initializer() and bias.is_initializer()
        return result if known and _narrow(wide) is not None else result.fail("not a float16 normalization", wide)

    def rewrite(self, op: Any, wide: ir.Value, scale: ir.Value, bias: ir.Value, normal: ir.Value) -> Any:
        node = normal.producer()
        assert node is not None and isinstance(node.graph, ir.Graph)
        halves = [
            _changed(node.graph, value, "half", lambda numbers: numbers.astype(np.float16)) for value in (scale, bias)
        ]
        return op.LayerNormalization(_narrow(wide), *halves, axis=-1, epsilon=node.attributes["epsilon"].as_float())


class _GatedGelu(RewriteRuleClassBase):
    """The feed-forward gate of a transformer block: half of the channels times the Gelu of the other half."""

    def pattern(self, op: Any, x: ir.Value, bias: ir.Value) -> Any:
        first, second = op.Split(op.Add(x, bias), _allow_other_inputs=True, _allow_other_attributes=True, _outputs=2)
        return op.Mul(first, op.Gelu(second))

    def check(self, context: Any, bias: ir.Value, **_: Any) -> MatchResult:
        result = MatchResult()
        width = bias.shape[0] if bias.is_initializer() and bias.shape is not None and len(bias.shape) == 1 else 0
        return result if width in GATED_WIDTHS else result.fail("the kernel has no such width", bias)

    def rewrite(self, op: Any, x: ir.Value, bias: ir.Value) -> Any:
        return op.BiasSplitGelu(x, bias, _domain=RUNTIME_OPERATORS)


RULES = (
    # With SiLU first: the rule without it would take those too.
    RewriteRuleSet([*_GroupNormalization.rule("GroupNormalization with SiLU", True).commute()]),
    RewriteRuleSet(
        [
            _GroupNormalization.rule("GroupNormalization", False),
            _LayerNormalization.rule("LayerNormalization"),
            *_GatedGelu.rule("gated Gelu").commute(),
        ]
    ),
)


def _channels_last(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a float16 convolution with constant weights by NhwcConv between two transposes."""
    given, weight, result = node.inputs[0], node.inputs[1], node.outputs[0]
    if given is None or weight is None or not weight.is_initializer() or weight.dtype != HALF:
        return
    turned = _transposed(graph, given, LAST, f"{result.name}/last")
    attributes = {
        name: node.attributes[name]
        for name in ("dilations", "group", "kernel_shape", "pads", "strides")
        if name in node.attributes
    }
    assert weight.shape is not None
    attributes.setdefault("kernel_shape", ir.AttrInt64s("kernel_shape", [int(side) for side in weight.shape[2:]]))
    made = ir.node(
        "NhwcConv",
        [turned.outputs[0], _changed(graph, weight, "last", lambda kernels: kernels.transpose(LAST)), *node.inputs[2:]],
        attributes,
        domain=RUNTIME_OPERATORS,
        name=node.name,
    )
    made.outputs[0].name, made.outputs[0].dtype = f"{result.name}/sums", HALF
    back = _transposed(graph, made.outputs[0], FIRST, f"{result.name}/first")
    back.outputs[0].shape = result.shape
    graph.insert_before(node, [turned, made, back])
    result.replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _transposed(graph: ir.Graph, value: ir.Value, order: tuple[int, ...], name: str) -> ir.Node:
    node = ir.node("Transpose", [value], {"perm": order}, name=name)
    node.outputs[0].name, node.outputs[0].dtype = f"{name}/out", value.dtype
    return node


def _changed(graph: ir.Graph, weight: ir.Value, how: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> ir.Value:
    """The weight with other numbers, made once for all nodes that use it."""
    name = f"{weight.name}/{how}"
    if name not in graph.initializers:
        assert weight.const_value is not None
        tensor = ir.tensor(np.ascontiguousarray(change(weight.const_value.numpy())), name=name)
        graph.register_initializer(
            ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
        )
    return graph.initializers[name]
