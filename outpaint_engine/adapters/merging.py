"""Weights with LoRAs added to them, in the form that the graphs of an engine set take them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..engine_set.weights import StoredWeight, read_stored
from ..errors import AdapterError
from ..tensors import Array
from .changes import LayerChange, make_changes

__all__ = ["UsedLora", "changeable", "merged"]

Changes = Sequence[tuple[Mapping[str, LayerChange], float]]
"""What each LoRA adds to the weights of one part, and its strength."""


class UsedLora(NamedTuple):
    """A LoRA that a picture was painted with: its name, its strength, and its file's SHA-256."""

    name: str
    strength: float
    sha256: str


def changeable(stored: Mapping[str, StoredWeight]) -> dict[str, tuple[int, ...]]:
    """The weights that a LoRA may change, those of linear layers and convolutions, with their shapes in torch."""
    return {
        name: tuple(reversed(place.shape)) if place.transposed else place.shape
        for name, place in stored.items()
        if name.endswith(".weight") and len(place.shape) in (2, 4) and "embeddings." not in name
    }


def merged(stored: Mapping[str, StoredWeight], changes: Changes) -> dict[str, Array]:
    """For each weight that is changed, by the graphs' name of it: its sum, in the form and element type stored.

    The sums are float32 and made in the order of `changes`, as `outpaint-export onnx --lora` makes them.

    Raises:
        AdapterError: a sum is beyond its element type, a DoRA has no direction (see `make_changes`), or a weight is
            another layer's too.
    """
    users = Counter(place.initializer for place in stored.values())
    found = {}
    for name in dict.fromkeys(name for layers, _ in changes for name in layers):
        place, files = stored[name], [layers[name].file for layers, _ in changes if name in layers]
        if users[place.initializer] > 1:
            raise AdapterError(
                f"{files[0]} changes {name!r}, whose numbers this engine set stores once for several layers. "
                "Fold the LoRA in at export: `outpaint-export onnx SOURCE OUT --lora FILE`."
            )
        total = read_stored(place).astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            make_changes(
                total.T if place.transposed else total,
                [(layers[name], strength) for layers, strength in changes if name in layers],
            )
            total = total.astype(place.dtype, copy=False)
        if not np.isfinite(total).all():
            raise AdapterError(
                f"{' and '.join(map(str, files))} would bring {name!r} beyond {place.dtype}, in which this engine set "
                "stores it. Use a smaller strength."
            )
        found[place.initializer] = total
    return found
