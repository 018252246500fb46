"""An opened engine set: what it is, and its loaded parts."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

from ..adapters import UsedLora
from ..engine_set import EngineSet
from ..engines.base import Engine
from ..engines.wrapping import WrappingEngine
from ..prompts import Prompts
from .component import Component
from .text_encoder import TextEncoder
from .unet import ShallowUnet, Unet
from .vae import TINY_DECODER, TinyDecoder, VaeDecoder, VaeEncoder

__all__ = ["Models"]

DENOISED, DECODED, ENCODED = 4, 16, 64
"""How far a picture that wraps is continued for UNet, decoder (latents) and encoder (pixels)."""
Part = TypeVar("Part", bound=Component)


class Models(NamedTuple):
    """An opened engine set: its facts, its tokenizer, its four loaded parts.

    The UNet's shallow one and the tiny decoder are loaded when they are asked for. `loras` are merged into them.
    """

    engine_set: EngineSet
    prompts: Prompts
    text_encoder: TextEncoder
    unet: Unet
    vae_encoder: VaeEncoder
    vae_decoder: VaeDecoder
    shallow: ShallowUnet | None = None
    loras: tuple[UsedLora, ...] = ()
    tiny_decoder: TinyDecoder | None = None

    def wrapping(self, wrap: str) -> "Models":
        """The same for one run of pictures that go on at their other side, in the directions `wrap`."""
        if not wrap:
            return self

        def around(part: Part, margin: int, turning: bool = False) -> Part:
            return part.on(WrappingEngine(part.engine, wrap, margin, turning))

        return self._replace(
            unet=around(self.unet, DENOISED, turning=True),
            shallow=self.shallow and around(self.shallow, DENOISED, turning=True),
            vae_encoder=around(self.vae_encoder, ENCODED),
            vae_decoder=around(self.vae_decoder, DECODED),
            tiny_decoder=self.tiny_decoder and around(self.tiny_decoder, DECODED),
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
        parts = (self.text_encoder, self.unet, self.vae_encoder, self.vae_decoder, self.shallow, self.tiny_decoder)
        return {component.part: component.engine for component in parts if component is not None}

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
        TINY_DECODER: TinyDecoder,
    }
    return {part: makers[part](engine) for part, engine in engines.items()}
