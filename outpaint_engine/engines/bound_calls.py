"""Sessions of ONNX Runtime whose inputs and outputs have fixed places on the device, so that one feeds the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ..tensors import Array, TensorSpec
from .onnx import ELEMENT_TYPES

__all__ = ["NOT_RECORDED", "BoundCall", "BoundCalls"]

NOT_RECORDED = "-1"
"""The graph id of a run that is neither recorded nor replayed."""
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What can run a graph of plain arithmetic beside a session, best first."""


@dataclass(frozen=True)
class BoundCalls:
    """An engine's session and device, for those who bind its places themselves.

    All of it happens on the engine's thread: `run` calls a function there and waits; `step` does the same with one step
    of a loop, which is what an engine that keeps the time counts. `graph_ids` are not used by anybody else. `kept` is
    the caller's, until the engine is closed.
    """

    session: Any
    device: str
    run: Callable[[Callable[[], Any]], Any]
    step: Callable[[Callable[[], Any]], Any]
    graph_ids: "count[int]"
    kept: dict[Any, Any]

    def place(self, spec: TensorSpec) -> Any:
        """Room for an array, whose content is anything."""
        from onnxruntime import OrtValue

        return OrtValue.ortvalue_from_shape_and_type(list(map(int, spec.shape)), spec.dtype.type, self.device)

    def write(self, place: Any, value: Array) -> None:
        """Copy an array to a place of its shape, as the element type that the place has."""
        place.update_inplace(np.ascontiguousarray(value, ELEMENT_TYPES[place.data_type()]))

    def input_dtype(self, name: str) -> "np.dtype[np.generic]":
        """The element type that the session takes."""
        return next(np.dtype(ELEMENT_TYPES[each.type]) for each in self.session.get_inputs() if each.name == name)

    def open(self, model: bytes) -> Any:
        """A session of another graph on the same device."""
        from onnxruntime import InferenceSession, SessionOptions

        options, has = SessionOptions(), self.session.get_provider_options()
        options.log_severity_level = 4
        provider = next(name for name in PROVIDERS if name in has)
        return InferenceSession(model, options, [(provider, has[provider])], enable_fallback=0)

    def bound(self, session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> "BoundCall":
        """A call of `session` that reads and writes these places."""
        return BoundCall(session, inputs, outputs, next(self.graph_ids))


class BoundCall:
    """A session's run with fixed places, which is recorded the second time, and replayed from then on."""

    def __init__(self, session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], graph_id: int) -> None:
        self._session, self._graph_id, self._runs = session, graph_id, 0
        self._binding = session.io_binding()
        for name, place in inputs.items():
            self._binding.bind_ortvalue_input(name, place)
        for name, place in outputs.items():
            self._binding.bind_ortvalue_output(name, place)

    def run(self) -> None:
        """Run; what is written is there when this returns."""
        from onnxruntime import RunOptions

        options = RunOptions()
        options.only_execute_path_to_fetches = True
        options.add_run_config_entry("gpu_graph_id", str(self._graph_id) if self._runs else NOT_RECORDED)
        self._session.run_with_iobinding(self._binding, options)
        self._runs += 1

    def release(self) -> None:
        """Let go of what was recorded, which must not outlive the places."""
        if self._runs > 1:
            self._session.release_captured_graph(self._graph_id)
