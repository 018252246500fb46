"""The weights of a part by their torch names: where each lies in its file, reading one, and which a graph holds.

Sets of format version 2 have such a map beside each weights file, `weights.json`; LoRA and words of a textual inversion
are merged through it. Nothing here loads an engine.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineSetError
from ..tensors import Array
from .engine_set import EngineSet
from .files import regular_file

__all__ = ["WEIGHT_MAP", "StoredWeight", "initializers_in", "read_stored", "read_weight", "stored_weights"]

WEIGHT_MAP = "weights.json"
ELEMENTS = ("float16", "float32")
NAME = re.compile(rb"\x42(?=([\x80-\xff]?[\x00-\x7f]))", re.DOTALL)
"""How `TensorProto.name` begins in protobuf's encoding (onnx.proto): field 8, "bytes of a length", and the length in
one or two groups of seven bits."""


@dataclass(frozen=True)
class StoredWeight:
    """Where one weight lies: its file, the byte it begins at, the graphs' name for it, and its form there.

    `shape` is as it is stored; `transposed` says that torch has it the other way round, as linear layers do.
    """

    file: Path
    offset: int
    initializer: str
    dtype: str
    shape: tuple[int, ...]
    transposed: bool

    @property
    def length(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def stored_weights(engine_set: EngineSet, part: str) -> Mapping[str, StoredWeight]:
    """For each weight of `part`, under the name that it has in diffusers' or transformers' module, where it lies.

    Names are those of the part's own module (`down_blocks.0.resnets.0.conv1.weight`; the text encoder's without
    `text_model.`). Several names may share one stored weight, where a checkpoint has the same numbers twice.

    Raises:
        EngineSetError: the set has no such map, or the map does not fit the file.
    """
    relative = f"{part}/{WEIGHT_MAP}"
    if relative not in engine_set.files:
        raise EngineSetError(
            f"{engine_set.folder} does not say where the weights of its {part} are, so they cannot be changed. "
            f"Bring the set up to date: `outpaint-export adopt {engine_set.folder}`."
        )
    path = regular_file(engine_set.folder, relative)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        file = regular_file(engine_set.folder, f"{part}/{content['file']}")
        size = file.stat().st_size
        return {str(name): _stored(file, size, row) for name, row in content["weights"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"{path} lacks or misstates {error}. Export the checkpoint again: "
            f"`outpaint-export onnx SOURCE {engine_set.folder}`."
        ) from error


def read_stored(stored: StoredWeight) -> Array:
    """One weight as it is stored."""
    return np.fromfile(
        stored.file, np.dtype(stored.dtype).newbyteorder("<"), math.prod(stored.shape), offset=stored.offset
    ).reshape(stored.shape)


def read_weight(stored: StoredWeight) -> Array:
    """One weight as torch has it, in the element type that it is stored in."""
    numbers = read_stored(stored)
    return np.ascontiguousarray(numbers.T if stored.transposed else numbers)


def initializers_in(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that are names of tensors in the graph at `path`; inputs of nodes are other fields."""
    content, wanted = path.read_bytes(), {name.encode(): name for name in names}
    found = set()
    for match in NAME.finditer(content):
        digits, begin = match[1], match.end() + len(match[1])
        length = digits[0] & 127 | (digits[-1] << 7 if len(digits) > 1 else 0)
        found.add(wanted.get(content[begin : begin + length]))
    return frozenset(name for name in found if name is not None)


def _stored(file: Path, size: int, row: Mapping[str, Any]) -> StoredWeight:
    shape = tuple(int(axis) for axis in row["shape"])
    stored = StoredWeight(
        file, int(row["offset"]), str(row["initializer"]), str(row["dtype"]), shape, row["transposed"] is True
    )
    if stored.dtype not in ELEMENTS or min((*shape, stored.offset)) < 0 or stored.offset + stored.length > size:
        raise ValueError(f"where {stored.initializer} lies")
    return stored
