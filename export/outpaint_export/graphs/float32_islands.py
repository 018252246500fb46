"""Which operators of a float16 graph stay in float32, because float16 is too coarse or too narrow for them.

- Normalisations: sums of squares over a whole group overflow float16 (65,504) and lose the small terms.
- Everything that depends on the timestep alone: its sines lose whole steps when 999 is rounded to float16.
- The middle of the VAE decoder, where activations of trained checkpoints are largest. Its attention is left out:
  engines fuse attention in float16 only, and unfused it would write out a score for every pair of pixels.
"""

import onnx_ir as ir

from .group_normalization import GROUPS

__all__ = ["float32_nodes", "is_constant", "is_real"]

NORMALISATIONS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
TIMESTEP = "timestep"
MIDDLES = {"vae_decoder": "mid_block"}
"""For a part, what the names of the convolutions have in common that its float32 island begins and ends with."""
REAL = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def float32_nodes(graph: ir.Graph, part: str) -> set[ir.Node]:
    """The nodes of `part` that stay in float32."""
    kept = {node for node in graph if node.op_type in NORMALISATIONS or GROUPS in str(node.name)}
    kept |= _of_the_timestep_alone(graph)
    if part in MIDDLES:
        kept |= {node for node in _middle(graph, MIDDLES[part]) if node.op_type != "Attention"}
    return kept


def is_real(value: ir.Value | None) -> bool:
    """Whether a value holds float32 or float16 numbers."""
    return value is not None and value.dtype in REAL


def is_constant(value: ir.Value) -> bool:
    """Whether a value is a weight, or a weight that is stored as float16 and widened by a `Cast`."""
    producer = value.producer()
    if producer is None:
        return value.is_initializer()
    stored = producer.inputs[0] if producer.op_type == "Cast" else None
    return stored is not None and stored.is_initializer()


def _of_the_timestep_alone(graph: ir.Graph) -> set[ir.Node]:
    known = {value for value in graph.inputs if value.name == TIMESTEP}
    found: set[ir.Node] = set()
    for node in graph:
        given = [value for value in node.inputs if value is not None and is_real(value) and not is_constant(value)]
        if given and known.issuperset(given):
            found.add(node)
            known.update(node.outputs)
    return found


def _middle(graph: ir.Graph, name: str) -> set[ir.Node]:
    """The convolutions whose weight's name holds `name`, and every node on a way from one of them to another.

    Weights other than convolutions' do not tell: exporters share equal ones, such as biases of zero, between layers.
    """
    ends = {node for node in graph if node.op_type == "Conv" and name in str(_stored_name(node.inputs[1]))}
    below, above = set(ends), set(ends)
    for node in graph:
        if any(value is not None and value.producer() in below for value in node.inputs):
            below.add(node)
    for node in reversed(graph):
        if any(use.node in above for value in node.outputs for use in value.uses()):
            above.add(node)
    return below & above


def _stored_name(weight: ir.Value | None) -> str | None:
    producer = weight.producer() if weight is not None else None
    if producer is not None and producer.inputs[0] is not None:
        return producer.inputs[0].name
    return weight.name if weight is not None else None
