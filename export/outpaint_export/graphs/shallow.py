"""The UNet cut in two where its answer is made: the deep part's features out, and a shallow graph that takes them.

From one step to the next the deep features change little, so that some steps may take them as they were, or as they
can be forecast, and run the shallow graph alone, a tenth of the work (DeepCache, https://arxiv.org/abs/2312.00858). The
cut is before the last skip connection, the one that joins what `conv_in` gives.
"""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

__all__ = ["DEEP", "give_deep_features", "take_deep_features"]

DEEP = "deep_features"
SAMPLE, ANSWER = "sample", "out_sample"
FIRST_AND_LATER = 2
"""Inputs of the last skip connection: what the deep blocks give, and what `conv_in` gives."""


def give_deep_features(model: ir.Model) -> bool:
    """Let a UNet's graph give `deep_features` too, float32; False where no such cut is found."""
    join = _last_skip(model.graph)
    if join is None:
        return False
    deep = _typed(model, join.inputs[0])
    sample = next(value for value in model.graph.inputs if value.name == SAMPLE)
    if deep.dtype != ir.DataType.FLOAT:
        # A graph that lost the output may still call the inner value so.
        deep.name = f"{DEEP}/inner" if deep.name == DEEP else deep.name
        cast = ir.node("Cast", [deep], {"to": ir.DataType.FLOAT}, name=f"{DEEP} widened")
        model.graph.insert_before(join, cast)
        given = cast.outputs[0]
        given.dtype = ir.DataType.FLOAT
    else:
        given = deep
    given.name = DEEP
    given.shape = _shape(deep, sample)
    model.graph.outputs.append(given)
    return True


def take_deep_features(model: ir.Model) -> None:
    """Make the shallow graph, in place, of a graph that `give_deep_features` was true for."""
    graph = model.graph
    join = _last_skip(graph)
    assert join is not None
    inner = join.inputs[0]
    given = next(value for value in graph.outputs if value.name == DEEP)
    graph.outputs[:] = [value for value in graph.outputs if value.name != DEEP]
    assert inner is not None
    taken = ir.Value(name=DEEP, shape=given.shape, type=ir.TensorType(ir.DataType.FLOAT))
    given.name = f"{DEEP}/given"
    graph.inputs.append(taken)
    if inner.dtype != ir.DataType.FLOAT:
        cast = ir.node("Cast", [taken], {"to": ir.DataType(inner.dtype or ir.DataType.FLOAT)}, name=f"{DEEP} narrowed")
        cast.outputs[0].dtype, cast.outputs[0].shape = inner.dtype, inner.shape
        graph.insert_before(join, cast)
        join.replace_input_with(0, cast.outputs[0])
    else:
        join.replace_input_with(0, taken)
    RemoveUnusedNodesPass()(model)


def _last_skip(graph: ir.Graph) -> ir.Node | None:
    """The Concat that joins what the first convolution gives, found from the graph's input."""
    sample = next((value for value in graph.inputs if value.name == SAMPLE), None)
    first = _first_convolution(sample) if sample is not None else None
    if first is None:
        return None
    joins = [use.node for use in first.outputs[0].uses() if use.node.op_type == "Concat" and use.idx == 1]
    return joins[0] if len(joins) == 1 and len(joins[0].inputs) == FIRST_AND_LATER else None


def _first_convolution(value: ir.Value) -> ir.Node | None:
    for use in value.uses():
        if use.node.op_type == "Conv":
            return use.node
        if use.node.op_type == "Cast" and (found := _first_convolution(use.node.outputs[0])) is not None:
            return found
    return None


def _typed(model: ir.Model, deep: ir.Value) -> ir.Value:
    """The features' value, with the type and the shape that the graph states or that follow from it."""
    if deep.dtype is None or deep.shape is None:
        ShapeInferencePass()(model)
    if deep.dtype is None:
        # What is computed has the type of the weights that it is computed with.
        deep.dtype = _first_type(model.graph)
    return deep


def _first_type(graph: ir.Graph) -> ir.DataType:
    """The type of the first convolution's kernels, which may be widened by a Cast where they are used."""
    convolution = next(node for node in graph if node.op_type == "Conv")
    kernels = convolution.inputs[1]
    assert kernels is not None
    cast = kernels.producer()
    return ir.DataType(cast.attributes["to"].as_int() if cast is not None else kernels.dtype or ir.DataType.FLOAT)


def _shape(deep: ir.Value, sample: ir.Value) -> ir.Shape:
    """(rows, channels, h, w), the free axes called as the input's are."""
    assert sample.shape is not None
    channels = deep.shape[1] if deep.shape is not None and isinstance(deep.shape[1], int) else f"{DEEP}_channels"
    return ir.Shape([sample.shape[0], channels, sample.shape[2], sample.shape[3]])
