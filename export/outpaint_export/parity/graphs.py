"""Measures how far a graph's answers are from the checkpoint's, and refuses a graph that misses its bound.

The checkpoint's answers are recorded first (`recording`) and the graph is run afterwards, so the two never need to be
in memory together. The relative error is the largest difference divided by the largest answer of the checkpoint. Graphs
of one part are compared with each other where there is no checkpoint. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from outpaint_engine.tensors import Array

from ..errors import ParityError
from ..graphs.added_words import ADDED, IDS, vectors_of
from .feeds import random_feeds

__all__ = ["BOUNDS", "SHALLOW_BOUND", "Reference", "compare", "compare_graphs", "compare_shallow", "compare_words"]

# float32: a part is a few hundred operators, each good to about 1e-7 of its largest value. float16: each weight,
# or each answer of an operator, is good to 5e-4 of itself.
BOUNDS = {"fp32": 1e-4, "fp16-weights": 2e-2, "fp16": 2e-2}
SHALLOW_BOUND = 1e-5
"""Of the shallow graph's answer beside the whole one's, from whose features it is."""
DEEP = "deep_features"


@dataclass(frozen=True)
class Reference:
    """One case: the arrays fed, by name, what the checkpoint answered, several outputs side by side, and a label."""

    feeds: dict[str, Array]
    answer: Array
    label: str = "random"


@dataclass(frozen=True)
class Case:
    """Figures of one case: what was fed, largest difference, and that divided by the largest answer."""

    shapes: dict[str, list[int]]
    max_abs_error: float
    max_rel_error: float
    picture: str = "random"


def compare(part: str, path: Path, references: list[Reference], precision: str) -> dict[str, Any]:
    """Run the ONNX file at `path` on the CPU and return the figures for the manifest.

    Raises:
        ParityError: the relative error is over the bound for `precision`, or not a number.
    """
    session = _session(path)
    outputs = [value.name for value in session.get_outputs() if value.name != DEEP]
    cases = [
        _measured(part, reference, np.concatenate(session.run(outputs, reference.feeds), axis=-1))
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
    return _figures(f"torch {version('torch')}", BOUNDS[precision], cases)


def compare_shallow(part: str, whole: Path, shallow: Path) -> dict[str, Any]:
    """How far the shallow graph's answer is from the whole one's, whose deep features it takes; for the manifest.

    Raises:
        ParityError: by more than `SHALLOW_BOUND`, or not a number.
    """
    session = _session(whole)
    feeds = random_feeds(part, session.get_inputs())
    answer, deep = session.run(["out_sample", DEEP], feeds)
    return _compared(part, whole, shallow, {**feeds, DEEP: deep}, [answer], SHALLOW_BOUND)


def compare_words(part: str, whole: Path, words: Path, bound: float) -> dict[str, Any]:
    """How far the answers of a text encoder that takes words are from the whole one's, for its own tokens' vectors.

    Raises:
        ParityError: by more than `bound`, or not a number.
    """
    session = _session(whole)
    feeds = random_feeds(part, session.get_inputs())
    outputs = [value.name for value in session.get_outputs()]
    answers = session.run(outputs, feeds)
    ids = feeds[IDS][0, ::2]
    given = feeds[IDS].copy()
    given[0, ::2] = -1 - np.arange(len(ids))
    return _compared(part, whole, words, {**feeds, IDS: given, ADDED: vectors_of(whole, ids)}, answers, bound)


def compare_graphs(part: str, expected: Path, path: Path, bound: float) -> dict[str, Any]:
    """How far the answers of one graph are from those of another of the same part; for the manifest.

    Raises:
        ParityError: by more than `bound`, or not a number.
    """
    session = _session(expected)
    feeds = random_feeds(part, session.get_inputs())
    outputs = [value.name for value in session.get_outputs() if value.name != DEEP]
    return _compared(part, expected, path, feeds, session.run(outputs, feeds), bound)


def _compared(
    part: str, expected: Path, path: Path, feeds: Mapping[str, Array], answers: list[Array], bound: float
) -> dict[str, Any]:
    session = _session(path)
    outputs = [value.name for value in session.get_outputs() if value.name != DEEP]
    found = session.run(outputs, dict(feeds))
    cases = [_measured(part, Reference(dict(feeds), a), b) for a, b in zip(answers, found, strict=True)]
    worst = max((case.max_rel_error for case in cases), key=lambda error: (error != error, error))
    if not worst <= bound:
        raise ParityError(
            f"{path.name} of the {part} is off by {worst:.2g} relative from {expected.name}; {bound:g} is allowed. "
            "Report this with the checkpoint's name."
        )
    return _figures(expected.name, bound, cases)


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # A few calls do not earn a second copy of all weights.
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _figures(reference: str, bound: float, cases: list[Case]) -> dict[str, Any]:
    return {
        "reference": reference,
        "runtime": f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider",
        "bound": bound,
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
    largest = max(float(np.abs(reference.answer).max()), 1e-12)
    return Case(shapes, difference, difference / largest, reference.label)
