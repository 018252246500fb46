"""Turns one part into an ONNX file with torch's exporter, in the precision asked for.

Opset 23 keeps attention and group normalisation as single operators (`Attention`, `GroupNormalization`), which
engines recognise. "fp16-weights" computes in float32: its weights are stored with a `Cast` behind them, which runtimes
fold away while loading. "fp16" computes in float16, see `half_precision`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ..errors import ConversionError
from .half_precision import to_half
from .modules import PartGraph

__all__ = ["OPSET", "Precision", "convert"]

OPSET = 23
Precision = Literal["fp32", "fp16-weights", "fp16"]
SMALL = 1024
EMBEDDED_BYTES = 1_500_000_000
FLOAT16_MAX = float(np.finfo(np.float16).max)


def convert(graph: PartGraph, path: Path, precision: Precision, opset: int) -> None:
    """Write `graph` to `path` as ONNX; weights of more than 1.5 GB go into `path` + "_data" beside it.

    Raises:
        ConversionError: torch cannot trace the part, with torch's reason; or a weight is too large for "fp16".
    """
    try:
        with _third_party_noise_kept_out():
            program = torch.onnx.export(
                _captured(graph),
                dynamo=True,
                opset_version=opset,
                input_names=list(graph.names.inputs),
                output_names=list(graph.names.outputs),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ConversionError(
            f"torch {torch.__version__} cannot export the {graph.part} to opset {opset}: {error} "
            "Check that the checkpoint is of the Stable Diffusion 1.5 family and that torch is 2.10 or newer."
        ) from error
    if program is None:
        raise ConversionError(f"torch {torch.__version__} gave no graph for the {graph.part}. Use torch 2.10 or newer.")
    model: onnx_ir.Model = program.model
    # torch writes its call stacks, with this machine's paths, into every node.
    ClearMetadataAndDocStringPass()(model)
    _name_axes(model, graph)
    for name, rows_of in graph.repeated.items():
        _repeat_rows(model, name, rows_of)
    if precision == "fp16-weights":
        store_weights_as_float16(model)
    elif precision == "fp16":
        to_half(model, graph.part)
    stored = (value.const_value for value in model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in stored if tensor is not None)
    onnx_ir.save(model, path, external_data=None if size < EMBEDDED_BYTES else f"{path.name}_data")


def _captured(graph: PartGraph) -> torch.export.ExportedProgram:
    """The operators of a part with all of its axes free.

    `torch.onnx.export` would capture by itself, but with run-time assertions that fail on the UNet's sizes, and
    then a second time in a way that takes several times as long.
    """
    axes = {name: {axis: torch.export.Dim.DYNAMIC for axis in free} for name, free in graph.names.inputs.items()}
    return torch.export.export(graph, graph.feeds()[0], dynamic_shapes=axes, strict=False)


def store_weights_as_float16(model: onnx_ir.Model) -> None:
    """Replace every float32 weight of `SMALL` elements or more by a float16 one and a `Cast` back, in place.

    A weight with values that float16 cannot hold is left as it is.
    """
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != onnx_ir.DataType.FLOAT or tensor.size < SMALL:
            continue
        numbers = tensor.numpy()
        if not np.abs(numbers).max() <= FLOAT16_MAX:
            continue
        half = onnx_ir.Value(name=f"{name}.fp16", const_value=onnx_ir.tensor(numbers.astype(np.float16)))
        half.type, half.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT16), value.shape
        widen = onnx_ir.node("Cast", [half], attributes={"to": onnx_ir.DataType.FLOAT}, name=f"widen {name}")
        widened = widen.outputs[0]
        widened.type, widened.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT), value.shape
        value.replace_all_uses_with(widened)
        model.graph.initializers.pop(name)
        widened.name = name
        model.graph.register_initializer(half)
        model.graph.insert_before(model.graph[0], widen)


def _name_axes(model: onnx_ir.Model, graph: PartGraph) -> None:
    """Give the free axes their names; torch writes formulas of the traced sizes for those of the outputs."""
    named = {**graph.names.inputs, **graph.names.outputs}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is None:
            raise ConversionError(f"torch gave no shape for {value.name} of the {graph.part}. Use torch 2.10 or newer.")
        free = named[str(value.name)]
        value.shape = onnx_ir.Shape([free.get(axis, size) for axis, size in enumerate(value.shape)])


def _repeat_rows(model: onnx_ir.Model, name: str, rows_of: str) -> None:
    """Let input `name` also be one row for the whole batch: repeat it to as many rows as `rows_of` has."""
    values = {str(value.name): value for value in model.graph.inputs}
    given, batch = values[name], onnx_ir.node("Shape", [values[rows_of]], attributes={"start": 0, "end": 1})
    repeat = onnx_ir.node("Expand", [given, batch.outputs[0]], name=f"repeat {name}")
    repeat.outputs[0].type, repeat.outputs[0].shape = given.type, given.shape
    for node, index in list(given.uses()):
        if node is not repeat:
            node.replace_input_with(index, repeat.outputs[0])
    model.graph.insert_before(model.graph[0], [batch, repeat])


@contextmanager
def _third_party_noise_kept_out() -> Iterator[None]:
    """Silence what torch's exporter says about itself and a user can do nothing about."""
    loggers = [
        # One line for each operator of torchvision, which is not needed and not installed.
        logging.getLogger("torch.onnx._internal.exporter._registration"),
        # A guard on the traced size that is only tried out.
        logging.getLogger("torch.utils._sympy.interp"),
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch's own use of its deprecated pytree classes.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # Free axes of the same size may share one name, which is what is wanted for the batch.
            warnings.filterwarnings("ignore", message=".*The axis name.*", category=UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
