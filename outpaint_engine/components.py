"""The four parts of the model: an engine plus names, element types and scaling, nothing else."""

from typing import NamedTuple

import numpy as np

from .engine_set import EngineSet
from .engines.base import Engine
from .errors import EngineSetError, NumericalError
from .prompts import Prompts
from .schedule import NoiseSchedule
from .tensors import Array, TensorSpec

__all__ = ["Models", "Posterior", "TextEncoder", "Unet", "VaeDecoder", "VaeEncoder"]


class _Component:
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

    def _spec(self, name: str) -> TensorSpec:
        return self.engine.inputs[name]

    def _run(self, **feeds: Array) -> Array:
        cast = {name: np.asarray(value, self._spec(name).dtype, order="C") for name, value in feeds.items()}
        return self.engine.run(cast)[self.output_name].astype(np.float32, copy=False)

    def _finite(self, values: Array) -> Array:
        if not np.isfinite(values).all():
            raise NumericalError(
                f"The {self.part} answered with NaN or infinity. Use an fp32 engine set, or export it again."
            )
        return values


class TextEncoder(_Component):
    """Token ids (B, tokens) to embeddings (B, tokens, width), float32."""

    part, input_names, output_name = "text_encoder", ("input_ids",), "last_hidden_state"

    def encode(self, input_ids: Array) -> Array:
        """Embed token ids."""
        return self._finite(self._run(input_ids=input_ids))


class Unet(_Component):
    """The denoising network; its number of input channels says how it is shown the known region."""

    part, input_names, output_name = "unet", ("sample", "timestep", "encoder_hidden_states"), "out_sample"

    def predict(self, sample: Array, timestep: float, context: Array) -> Array:
        """Raw output (B, 4, h, w) for `sample` (B, 4 or 9, h, w) at one timestep.

        Some samplers look between two timesteps; a graph that takes whole ones is told the nearest.
        """
        # Our graphs take one timestep a row; other exporters wrote a scalar or a single one for all rows.
        axes, dtype = self._spec("timestep").shape, np.dtype(self._spec("timestep").dtype)
        told = round(timestep) if np.issubdtype(dtype, np.integer) else timestep
        rows = tuple(axis if isinstance(axis, int) else len(sample) for axis in axes)
        return self._run(sample=sample, timestep=np.full(rows, told), encoder_hidden_states=context)


class Posterior(NamedTuple):
    """Mean and standard deviation of scaled latents, float32 (B, 4, h, w)."""

    mean: Array
    std: Array

    def sample(self, noise: Array) -> Array:
        """Latents drawn with standard normals of the same shape."""
        return self.mean + self.std * noise


class VaeEncoder(_Component):
    """Pixels in [-1, 1] to the posterior of the latents."""

    part, input_names, output_name = "vae_encoder", ("sample",), "latent_parameters"

    def __init__(self, engine: Engine, scale: float) -> None:
        super().__init__(engine)
        self._scale = np.float32(scale)

    def encode(self, pixels: Array) -> Posterior:
        """The posterior of the latents (B, 4, h, w) of pixels (B, 3, 8h, 8w)."""
        mean, logvar = np.split(self._finite(self._run(sample=pixels)), 2, axis=1)
        return Posterior(mean * self._scale, np.exp(0.5 * np.clip(logvar, -30, 20)) * self._scale)


class VaeDecoder(_Component):
    """Scaled latents to pixels in about [-1, 1]."""

    part, input_names, output_name = "vae_decoder", ("latent_sample",), "sample"

    def __init__(self, engine: Engine, scale: float) -> None:
        super().__init__(engine)
        self._scale = np.float32(scale)

    def decode(self, latents: Array) -> Array:
        """Pixels (B, 3, 8h, 8w) of latents (B, 4, h, w)."""
        return self._finite(self._run(latent_sample=latents / self._scale))


class Models(NamedTuple):
    """An opened engine set: its facts, its schedule and tokenizer, and its four loaded parts."""

    engine_set: EngineSet
    schedule: NoiseSchedule
    prompts: Prompts
    text_encoder: TextEncoder
    unet: Unet
    vae_encoder: VaeEncoder
    vae_decoder: VaeDecoder
