"""Turns one part into an ONNX model with torch's exporter, in the precision asked for, and finds its weights in it.

Opset 23 keeps attention as a single operator (`Attention`), which engines recognise. "fp16-weights" computes in
float32: its weights are stored with a `Cast` behind them, which runtimes fold away while loading. "fp16" computes in
float16, see `half_precision`.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import onnx_ir
import torch
from numpy.typing import NDArray
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ..errors import ConversionError
from .half_precision import to_half
from .modules import PartGraph
from .names import torch_names, without_module
from .weights import Stored

__all__ = ["OPSET", "Precision", "convert", "named_weights"]

OPSET = 23
Precision = Literal["fp32", "fp16-weights", "fp16"]
SMALL = 1024
FLOAT16_MAX = float(np.finfo(np.float16).max)


def convert(graph: PartGraph, precision: Precision, opset: int) -> onnx_ir.Model:
    """The part as an ONNX model with its weights in memory.

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
    return model


def named_weights(model: onnx_ir.Model, graph: PartGraph) -> dict[str, Stored]:
    """Where `model` stores each weight of the module that it was made from, under the module's own names.

    The names that the graph tells are compared with the module, number by number. Weights of equal numbers are stored
    once, and then have several names.

    Raises:
        ConversionError: a weight with more than one axis is in the module and not in the graph, or differs there.
    """
    told, found, shared = torch_names(model.graph), {}, _by_numbers(model)
    for name, weight in graph.weights().items():
        name, numbers = without_module(name), weight.numpy()
        if not np.issubdtype(numbers.dtype, np.floating):
            continue
        stored = told.get(name)
        if stored is None or not _holds(model, stored, numbers):
            stored = next((each for each in shared(numbers) if _holds(model, each, numbers)), None)
        if stored is not None:
            found[name] = stored
        elif numbers.ndim > 1:
            raise ConversionError(
                f"The {graph.part}'s weight {name} is not found in its graph, so it could not be changed by a LoRA. "
                "Report this with the checkpoint's name and torch's version."
            )
    return found


def _by_numbers(model: onnx_ir.Model) -> Callable[[NDArray[Any]], Iterator[Stored]]:
    """Finds the stored weights, either way round, that have as many numbers of a shape."""
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            shapes.setdefault(tuple(value.const_value.shape.numpy()), []).append(name)

    def of(numbers: NDArray[Any]) -> Iterator[Stored]:
        yield from (Stored(name, transposed=False) for name in shapes.get(numbers.shape, []))
        if numbers.ndim == 2:
            yield from (Stored(name, transposed=True) for name in shapes.get(numbers.shape[::-1], []))

    return of


def _holds(model: onnx_ir.Model, stored: Stored, numbers: NDArray[Any]) -> bool:
    tensor = model.graph.initializers[stored.initializer].const_value
    if tensor is None or tensor.dtype not in (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16):
        return False
    kept = tensor.numpy()
    wanted = numbers.T if stored.transposed else numbers
    return kept.shape == wanted.shape and bool(np.array_equal(kept, wanted.astype(kept.dtype)))


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
