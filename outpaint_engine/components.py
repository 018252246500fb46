"""The four parts of the model: an engine plus names, element types and scaling, nothing else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, Self

import numpy as np

from .adapters import UsedLora
from .denoise import guidance_embedding
from .engine_set import EngineSet
from .engines.base import Engine
from .engines.wrapping import WrappingEngine
from .errors import EngineSetError, NumericalError
from .prompts import Prompts
from .shapes import Bucket, part_shapes
from .tensors import Array, Shapes, TensorSpec

__all__ = ["ADDED_WORDS", "Models", "Posterior", "TextEncoder", "Unet", "VaeDecoder", "VaeEncoder"]

DENOISED, DECODED, ENCODED = 4, 16, 64
"""How far a picture that wraps is continued for UNet, decoder (latents) and encoder (pixels)."""
KEPT_TEXTS = 64
"""Chunks of 77 tokens: 15 MB for SD1.5."""
ADDED_WORDS = "added_words"
"""The graph of a text encoder that takes vectors for words which its token table does not have."""
VECTORS_AT_ONCE = 32
"""Vectors are handed over in multiples of so many, so that a further word is seldom another shape to compile for."""
MASK, ADDED, DEEP, GUIDANCE = "attention_mask", "added_embeddings", "deep_features", "timestep_cond"


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


@dataclass
class _AddedWords:
    """The vectors of words that were added, float32 (n, width), whose first `words` rows are used."""

    vectors: Array | None = None
    words: int = 0


class TextEncoder(_Component):
    """Token ids to embeddings. Those of the latest `KEPT_TEXTS` texts are kept, so a repeated one costs no call.

    `like` is another encoder whose added words this one has too, now and later.
    """

    part, input_names, output_name = "text_encoder", ("input_ids",), "last_hidden_state"

    def __init__(self, engine: Engine, like: "TextEncoder | None" = None) -> None:
        super().__init__(engine)
        self._kept = lru_cache(maxsize=KEPT_TEXTS)(self._embed)
        self._added: _AddedWords = like._added if like else _AddedWords()

    @property
    def width(self) -> int | None:
        """Numbers in an embedding, and in a token's vector; None where the graph does not say."""
        axis = self.engine.outputs[self.output_name].shape[-1]
        return axis if isinstance(axis, int) else None

    @staticmethod
    def shapes_with_words(engine_set: EngineSet, inputs: Iterable[Mapping[str, Any]]) -> Shapes:
        """The shapes of a call, where the graph that takes words has these `inputs` in the manifest."""
        shapes = part_shapes("text_encoder", inputs, Bucket(0, 0), engine_set.latent_factor, engine_set.text_length)
        return tuple((name, (VECTORS_AT_ONCE, shape[1]) if name == ADDED else shape) for name, shape in shapes)

    @property
    def takes_words(self) -> bool:
        """Whether the graph takes vectors for token ids below 0."""
        return ADDED in self.engine.inputs

    def add_words(self, vectors: Array, engine: Engine | None = None) -> None:
        """Let the next token ids below 0 stand for `vectors`, float32 (n, width); run on `engine` if it is given."""
        before, words = self._added.vectors, self._added.words
        added = np.concatenate([before[:words], vectors]) if before is not None else vectors
        rows = max(1, -(-len(added) // VECTORS_AT_ONCE)) * VECTORS_AT_ONCE
        # A thread that is encoding has the vectors of every word it can have read.
        self._added.vectors, self._added.words = np.pad(added, ((0, rows - len(added)), (0, 0))), len(added)
        self.engine = engine or self.engine

    def encode(self, input_ids: Array, clip_skip: int | None = None, mask: Array | None = None) -> Array:
        """Embeddings, float32 (1, tokens, width), not to be written to, of token ids (1, tokens).

        `clip_skip` leaves out that many of the last layers, and normalises as after the last, as diffusers does.
        `mask`, int64 (1, tokens), is 1 where there is no padding; it is read by the encoders that were trained with
        one (`use_attention_mask` in diffusers' configuration), and without it nothing counts as padding.

        Raises:
            EngineSetError: the graph does not give that layer.
        """
        output = f"clip_skip.{clip_skip}" if clip_skip else self.output_name
        if output not in self.engine.outputs:
            layers = sum(name.startswith("clip_skip.") for name in self.engine.outputs)
            raise EngineSetError(
                f"clip_skip can be 1 to {layers} with this engine set, not {clip_skip}."
                if layers
                else "This engine set's text encoder gives its last layer only, so clip_skip cannot be used. Export "
                "the checkpoint again with `outpaint-export onnx`."
            )
        feeds = {"input_ids": input_ids}
        if MASK in self.engine.inputs:
            feeds[MASK] = np.ones_like(input_ids) if mask is None else mask
        return self._kept(output, **{name: np.asarray(value, np.int64).tobytes() for name, value in feeds.items()})

    def _embed(self, output: str, **feeds: bytes) -> Array:
        rows = {name: np.frombuffer(value, np.int64)[None] for name, value in feeds.items()}
        engine = self.engine
        if ADDED in engine.inputs and self._added.vectors is not None:
            rows[ADDED] = self._added.vectors
        embeddings = self._finite(self._answers((output,), rows, engine)[output])
        embeddings.flags.writeable = False
        return embeddings


class Unet(_Component):
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
    """An opened engine set: its facts, its tokenizer, its four loaded parts and the UNet's shallow one.

    `loras` are merged into them.
    """

    engine_set: EngineSet
    prompts: Prompts
    text_encoder: TextEncoder
    unet: Unet
    vae_encoder: VaeEncoder
    vae_decoder: VaeDecoder
    shallow: ShallowUnet | None = None
    loras: tuple[UsedLora, ...] = ()

    def wrapping(self, wrap: str) -> "Models":
        """The same for one run of pictures that go on at their other side, in the directions `wrap`."""
        if not wrap:
            return self
        scale, decoding = self.engine_set.latent_scale, WrappingEngine(self.vae_decoder.engine, wrap, DECODED)
        shallow = self.shallow and ShallowUnet(WrappingEngine(self.shallow.engine, wrap, DENOISED, turning=True))
        return self._replace(
            unet=Unet(WrappingEngine(self.unet.engine, wrap, DENOISED, turning=True)),
            shallow=shallow,
            vae_encoder=VaeEncoder(WrappingEngine(self.vae_encoder.engine, wrap, ENCODED), scale),
            vae_decoder=VaeDecoder(decoding, scale),
        )

    def guided_by(self, scale: float) -> "Models":
        """The same for runs at a guidance scale, where the UNet is told it."""
        if not self.unet.takes_guidance:
            return self
        shallow = self.shallow and ShallowUnet(self.shallow.engine, scale)
        return self._replace(unet=Unet(self.unet.engine, scale), shallow=shallow)

    @classmethod
    def of(cls, engine_set: EngineSet, engines: Mapping[str, Engine]) -> Self:
        """What an opened engine set and the engines of its four parts make."""
        return cls(
            engine_set,
            Prompts(engine_set.folder / "tokenizer", engine_set.text_length),
            **_components(engines, engine_set.latent_scale),
        )

    @property
    def engines(self) -> dict[str, Engine]:
        """The engine of each part, by its name."""
        components = (self.text_encoder, self.unet, self.vae_encoder, self.vae_decoder, self.shallow)
        return {component.part: component.engine for component in components if component is not None}

    @property
    def has_shallow(self) -> bool:
        """Whether the UNet gives its deep features and there is a shallow part that takes them."""
        return self.shallow is not None and self.unet.gives_features

    def with_engines(self, engines: Mapping[str, Engine]) -> Self:
        """The same, with other engines for the parts that `engines` names."""
        return self._replace(**_components(engines, self.engine_set.latent_scale))


def _components(engines: Mapping[str, Engine], scale: float) -> dict[str, Any]:
    makers: dict[str, Callable[[Engine], Any]] = {
        "text_encoder": TextEncoder,
        "unet": Unet,
        "shallow": ShallowUnet,
        "vae_encoder": partial(VaeEncoder, scale=scale),
        "vae_decoder": partial(VaeDecoder, scale=scale),
    }
    return {part: makers[part](engine) for part, engine in engines.items()}
