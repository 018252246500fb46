"""An engine made from a Python function: for tests, for experiments, for models that live elsewhere."""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from ..tensors import Array, TensorSpec
from .base import Engine

__all__ = ["FunctionEngine"]


class FunctionEngine(Engine):
    """Runs `function(**feeds) -> {name: array}`.

    `inputs` maps names to shapes (free axes as text); everything is float32 unless `dtypes` says otherwise.
    """

    def __init__(
        self,
        function: Callable[..., dict[str, Array]],
        inputs: Mapping[str, tuple[int | str, ...]],
        outputs: Mapping[str, tuple[int | str, ...]],
        dtypes: Mapping[str, str] | None = None,
    ) -> None:
        kinds = dtypes or {}
        self.inputs, self.outputs = (
            {name: TensorSpec(name, np.dtype(kinds.get(name, "float32")), shape) for name, shape in specs.items()}
            for specs in (inputs, outputs)
        )
        self.backend, self.device, self.precision = "python", "python", "fp32"
        self._function = function

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Call the function; its arrays are copied, so that the caller owns them."""
        answers = self._function(**feeds).items()
        return {name: np.array(value) for name, value in answers if wanted is None or name in wanted}
