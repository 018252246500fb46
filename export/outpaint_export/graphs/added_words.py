"""A text encoder's graph that also takes vectors of words which its token table does not have (textual inversion).

Token ids below 0 stand for rows of a further input, `added_embeddings` (n, width): -1 for the first, -2 for the second.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from outpaint_engine.tensors import Array

from .weights import stored_under

__all__ = ["ADDED", "IDS", "take_added_words", "vectors_of"]

ADDED, IDS = "added_embeddings", "input_ids"


def take_added_words(model: ir.Model) -> bool:
    """Change a text encoder's graph in place; False where its lookup of tokens is not found."""
    graph = model.graph
    lookup = next((found for value in graph.inputs if value.name == IDS for found in _lookups(value)), None)
    if (
        lookup is None
        or (ids := lookup.inputs[1]) is None
        or (table := lookup.inputs[0]) is None
        or table.shape is None
    ):
        return False
    found = lookup.outputs[0]
    added = ir.Value(name=ADDED, shape=ir.Shape(["added", table.shape[1]]), type=ir.TensorType(ir.DataType.FLOAT))
    graph.inputs.append(added)
    zero, last = (_constant(graph, name, value) for name, value in (("zero", 0), ("last", -1)))
    nodes = [
        below := ir.node("Less", [ids, zero]),
        known := ir.node("Max", [ids, zero]),
        row := ir.node("Sub", [last, ids]),
        safe := ir.node("Max", [row.outputs[0], zero]),
        rows := ir.node("Gather", [added, safe.outputs[0]]),
        wide := ir.node("Unsqueeze", [below.outputs[0], last]),
    ]
    if table.dtype not in (None, ir.DataType.FLOAT):
        rows = ir.node("Cast", [rows.outputs[0]], attributes={"to": table.dtype})
        nodes.append(rows)
    chosen = ir.node("Where", [wide.outputs[0], rows.outputs[0], found])
    for number, node in enumerate((*nodes, chosen)):
        node.name = node.outputs[0].name = f"{ADDED}/{number} {node.op_type}"
    found.replace_all_uses_with(chosen.outputs[0])
    chosen.replace_input_with(2, found)
    lookup.replace_input_with(1, known.outputs[0])
    graph.insert_before(lookup, nodes)
    graph.insert_after(lookup, chosen)
    return True


def vectors_of(path: Path, ids: Array) -> Array:
    """The rows of a text encoder's token table, float32 (n, width), by which it knows `ids` (n,)."""
    graph = ir.load(path).graph
    lookup = next(found for value in graph.inputs if value.name == IDS for found in _lookups(value))
    table = lookup.inputs[0]
    assert table is not None
    stored = stored_under(table).const_value
    assert stored is not None
    return stored.numpy()[ids].astype(np.float32)


def _lookups(ids: ir.Value) -> Iterator[ir.Node]:
    """The nodes that take rows of a table by these numbers, as they are or reshaped."""
    for use in ids.uses():
        if use.node.op_type == "Gather" and use.idx == 1:
            yield use.node
        elif use.node.op_type == "Reshape" and use.idx == 0:
            yield from _lookups(use.node.outputs[0])


def _constant(graph: ir.Graph, name: str, value: int) -> ir.Value:
    tensor = ir.tensor(np.array([value], np.int64), name=f"{ADDED}/{name}")
    made = ir.Value(name=tensor.name, const_value=tensor, shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    graph.register_initializer(made)
    return made
