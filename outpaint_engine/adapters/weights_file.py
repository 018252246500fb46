"""Reads a small `.safetensors` file that somebody else wrote: bounded, nothing in it is executed."""

from pathlib import Path

import numpy as np

from ..errors import AdapterError
from ..tensors import Array

__all__ = ["read_weights"]

FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
MOST_AXES = 8


def read_weights(path: Path, most_bytes: int) -> dict[str, Array]:
    """Every tensor of the file, by name, as float32.

    Raises:
        AdapterError: no such file, not safetensors, more than `most_bytes`, or numbers that are no finite floats.
    """
    from safetensors import SafetensorError, deserialize

    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror}. Give a .safetensors file.") from error
    if len(content) > most_bytes:
        raise AdapterError(
            f"{path} has more than {most_bytes / 1e6:.0f} MB, which no such adapter has. Give another file."
        )
    try:
        stored = deserialize(content)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, OverflowError) as error:
        raise AdapterError(
            f"{path} is not a whole safetensors file: {error}. Other formats can run a program when they are read and "
            "are refused: convert it, or download it again."
        ) from error
    return {name: _floats(path, name, tensor["dtype"], tensor["data"], tensor["shape"]) for name, tensor in stored}


def _floats(path: Path, name: str, kind: str, data: bytes, shape: list[int]) -> Array:
    if kind == "BF16":
        # A bfloat16 is the upper half of a float32.
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in FLOATS:
        with np.errstate(over="ignore"):
            values = np.frombuffer(data, np.dtype(FLOATS[kind]).newbyteorder("<")).astype(np.float32)
    else:
        raise AdapterError(f"{path} has {name!r:.60} as {kind}; expected floating-point numbers. Give another file.")
    if not np.isfinite(values).all():
        raise AdapterError(f"{path} has NaN or infinity in {name!r:.60}. Give another file.")
    if len(shape) > MOST_AXES:
        raise AdapterError(
            f"{path} has {len(shape)} axes in {name!r:.60}; {MOST_AXES} are the most. Give another file."
        )
    return values.reshape(shape)
