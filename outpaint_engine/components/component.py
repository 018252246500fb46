"""What the parts have in common: an engine, and names and element types of what it takes and gives."""

from collections.abc import Mapping
from copy import copy
from typing import Self

import numpy as np

from ..engines.base import Engine
from ..errors import EngineSetError, NumericalError
from ..tensors import Array, TensorSpec

__all__ = ["Component"]


class Component:
    """Looks up inputs and outputs by name once, and casts to what the graph wants."""

    part = ""
    input_names: tuple[str, ...] = ()
    output_name = ""

    def __init__(self, engine: Engine) -> None:
        missing = [name for name in self.input_names if name not in engine.inputs]
        if missing or self.output_name not in engine.outputs:
            raise EngineSetError(
                f"The {self.part} graph must take {', '.join(self.input_names)} and give {self.output_name}; "
                f"this one takes {', '.join(engine.inputs)} and gives {', '.join(engine.outputs)}."
            )
        self.engine = engine

    def on(self, engine: Engine) -> Self:
        """The same on another engine, which takes and gives the same."""
        other = copy(self)
        other.engine = engine
        return other

    def _spec(self, name: str) -> TensorSpec:
        return self.engine.inputs[name]

    def _run(self, **feeds: Array) -> Array:
        return self._answer(self.output_name, feeds)

    def _answer(self, output: str, feeds: Mapping[str, Array]) -> Array:
        return self._answers((output,), feeds)[output]

    def _answers(
        self, outputs: tuple[str, ...], feeds: Mapping[str, Array], engine: Engine | None = None
    ) -> dict[str, Array]:
        engine = engine or self.engine
        cast = {name: np.asarray(value, engine.inputs[name].dtype, order="C") for name, value in feeds.items()}
        # Outputs that nobody wants need not be computed.
        answers = engine.run(cast) if len(engine.outputs) == len(outputs) else engine.run(cast, outputs)
        return {name: answers[name].astype(np.float32, copy=False) for name in outputs}

    def _finite(self, values: Array) -> Array:
        if not np.isfinite(values).all():
            raise NumericalError(
                f"The {self.part} answered with NaN or infinity. Use an fp32 engine set, or export it again."
            )
        return values
