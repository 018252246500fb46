"""The UNet, and the last layers of it alone."""

import numpy as np

from ..denoise import guidance_embedding
from ..engines.base import Engine
from ..errors import EngineSetError
from ..tensors import Array
from .component import Component

__all__ = ["ShallowUnet", "Unet"]

DEEP, GUIDANCE = "deep_features", "timestep_cond"


class Unet(Component):
    """The denoising network; its number of input channels says how it is shown the known region."""

    part, output_name = "unet", "out_sample"
    input_names: tuple[str, ...] = ("sample", "timestep", "encoder_hidden_states")

    def __init__(self, engine: Engine, guidance_scale: float = 1.0) -> None:
        super().__init__(engine)
        self._guidance = None
        if self.takes_guidance:
            width = self._spec(GUIDANCE).shape[1]
            if not isinstance(width, int):
                raise EngineSetError(f"The {self.part} graph does not say how wide {GUIDANCE} is. Export it again.")
            self._guidance = guidance_embedding(guidance_scale, width)

    @property
    def takes_guidance(self) -> bool:
        """Whether the graph was distilled with guidance and takes its scale: no second prediction is computed."""
        return GUIDANCE in self.engine.inputs

    @property
    def whole_timesteps(self) -> bool:
        """Whether the graph takes integers, as Optimum's do."""
        return np.issubdtype(self._spec("timestep").dtype, np.integer)

    @property
    def text_tokens(self) -> int | None:
        """How many text tokens the graph takes; None for any number."""
        axis = self._spec("encoder_hidden_states").shape[1]
        return axis if isinstance(axis, int) else None

    def predict(self, sample: Array, timestep: float, context: Array) -> Array:
        """Raw output (B, 4, h, w) for `sample` (B, 4 or 9, h, w) at one timestep.

        Some samplers look between two timesteps; a graph that takes whole ones is told the nearest.
        """
        return self._run(**self._feeds(sample, timestep, context))

    def _feeds(self, sample: Array, timestep: float, context: Array) -> dict[str, Array]:
        # Our graphs take one timestep a row; other exporters wrote a scalar or a single one for all rows.
        axes = self._spec("timestep").shape
        told = round(timestep) if self.whole_timesteps else timestep
        rows = tuple(axis if isinstance(axis, int) else len(sample) for axis in axes)
        feeds = {"sample": sample, "timestep": np.full(rows, told), "encoder_hidden_states": context}
        return feeds if self._guidance is None else {**feeds, GUIDANCE: self._guidance.repeat(len(sample), axis=0)}

    @property
    def gives_features(self) -> bool:
        """Whether the graph can give its deep features too."""
        return DEEP in self.engine.outputs

    def predict_deep(self, sample: Array, timestep: float, context: Array) -> tuple[Array, Array]:
        """As `predict`, and the deep features (B, C, h, w) that `ShallowUnet` takes."""
        answers = self._answers((self.output_name, DEEP), self._feeds(sample, timestep, context))
        return answers[self.output_name], answers[DEEP]


class ShallowUnet(Unet):
    """The UNet's first and last layers alone, around deep features that are given: a tenth of a call."""

    part, input_names = "shallow", (*Unet.input_names, DEEP)

    def predict_shallow(self, sample: Array, timestep: float, context: Array, features: Array) -> Array:
        """Raw output as of `Unet.predict`, on the deep features of another call or a forecast of them."""
        return self._answer(self.output_name, {**self._feeds(sample, timestep, context), DEEP: features})
