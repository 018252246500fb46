"""Records what a checkpoint answers, before its graphs are asked the same.

Random inputs are answered in float32; flat, half masked and random pictures of full size in float64, since it is flat
areas that show how a normalisation takes its mean.
"""

import torch
from torch import Tensor

from outpaint_engine.tensors import Array

from ..graphs.modules import PartGraph
from .graphs import Reference

__all__ = ["record"]


def record(graph: PartGraph, sides: tuple[int, ...] = ()) -> list[Reference]:
    """The checkpoint's answers to all of the graph's random inputs, and to pictures of `sides` pixels."""
    references = [_recorded(graph, feeds, "random") for feeds in graph.feeds()]
    # Every float32 number is a float64 one, so the module is the same one afterwards.
    graph.double()
    for side in sides:
        for label, feeds in graph.pictures(side).items():
            references.append(_recorded(graph, feeds, label))
    graph.float()
    return references


def _recorded(graph: PartGraph, feeds: tuple[Tensor, ...], label: str) -> Reference:
    kind = next(graph.parameters()).dtype
    with torch.no_grad():
        given = graph(*(feed.to(kind) if feed.is_floating_point() else feed for feed in feeds))
    answer: Array = torch.cat(given, -1).numpy() if isinstance(given, tuple) else given.numpy()
    arrays = (tensor.numpy() for tensor in feeds)
    return Reference(dict(zip(graph.names.inputs, arrays, strict=True)), answer, label)
