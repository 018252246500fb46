"""Measures how far a graph's answers are from the checkpoint's, and refuses a graph that misses its bound.

The checkpoint's answers are recorded first and the graph is run afterwards, so the two never need to be in
memory together. The relative error is the largest difference divided by the largest answer of the checkpoint.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from outpaint_engine.tensors import Array

from ..errors import ParityError
from ..graphs.modules import PartGraph

__all__ = ["BOUNDS", "Reference", "compare", "record"]

# float32: a part is a few hundred operators, each good to about 1e-7 of its largest value. float16: each weight,
# or each answer of an operator, is good to 5e-4 of itself.
BOUNDS = {"fp32": 1e-4, "fp16-weights": 2e-2, "fp16": 2e-2}


@dataclass(frozen=True)
class Reference:
    """One case: the arrays fed, by name, and what the checkpoint answered, several outputs side by side."""

    feeds: dict[str, Array]
    answer: Array


@dataclass(frozen=True)
class Case:
    """Figures of one case: shapes fed, largest difference, and that divided by the largest answer."""

    shapes: dict[str, list[int]]
    max_abs_error: float
    max_rel_error: float


def record(graph: PartGraph) -> list[Reference]:
    """The checkpoint's answers to all of the graph's random inputs."""
    references = []
    for feeds in graph.feeds():
        with torch.no_grad():
            given = graph(*feeds)
        answer: Array = torch.cat(given, -1).numpy() if isinstance(given, tuple) else given.numpy()
        arrays = (tensor.numpy() for tensor in feeds)
        references.append(Reference(dict(zip(graph.names.inputs, arrays, strict=True)), answer))
    return references


def compare(part: str, path: Path, references: list[Reference], precision: str) -> dict[str, Any]:
    """Run the ONNX file at `path` on the CPU and return the figures for the manifest.

    Raises:
        ParityError: the relative error is over the bound for `precision`, or not a number.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cases = [
        _measured(part, reference, np.concatenate(session.run(None, reference.feeds), axis=-1))
        for reference in references
    ]
    # A NaN compares false with everything, so it is asked for what is allowed and not for what is too much.
    over = [case for case in cases if not case.max_rel_error <= BOUNDS[precision]]
    if over:
        raise ParityError(
            f"The exported {part} is off by {over[0].max_rel_error:.2g} relative ({over[0].max_abs_error:.2g} "
            f"absolute) at {over[0].shapes}; {BOUNDS[precision]:g} is allowed in {precision}. "
            + ("Report this with the checkpoint's name." if precision == "fp32" else "Export with `--precision fp32`.")
        )
    return {
        "reference": f"torch {torch.__version__}",
        "runtime": f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider",
        "bound": BOUNDS[precision],
        "max_abs_error": max(case.max_abs_error for case in cases),
        "max_rel_error": max(case.max_rel_error for case in cases),
        "cases": [asdict(case) for case in cases],
    }


def _measured(part: str, reference: Reference, answer: Array) -> Case:
    if answer.shape != reference.answer.shape:
        raise ParityError(
            f"The exported {part} answers with shape {answer.shape} where the checkpoint answers with "
            f"{reference.answer.shape}. Report this with the checkpoint's name."
        )
    shapes = {name: list(array.shape) for name, array in reference.feeds.items()}
    difference = float(np.abs(answer - reference.answer).max())
    return Case(shapes, difference, difference / max(float(np.abs(reference.answer).max()), 1e-12))
