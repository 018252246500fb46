"""The graphs of an engine set as torch modules: plain tensors in, one plain tensor out, no random numbers.

`timestep` is a vector with one entry for each row, so that rows at different steps can share a call, and float32,
so that samplers may look between two timesteps. Scaling of latents stays outside the graphs. Nothing here knows
ONNX; the names are in `layout`.
"""

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..layout import CLIP_SKIP, GRAPHS, TOKENS, GraphNames

__all__ = [
    "LOCAL_KEYS",
    "PartGraph",
    "TextEncoderGraph",
    "TinyDecoderGraph",
    "UnetGraph",
    "VaeDecoderGraph",
    "VaeEncoderGraph",
    "seeded",
]

TIMESTEPS = 1000
FACTOR = 8
"""Pixels a latent stands for."""
# Keys of a configuration that say where and how it was read, not what it is.
LOCAL_KEYS = ("_name_or_path", "_use_default_values")


class PartGraph(nn.Module):
    """One part of an engine set; `GRAPHS` says what its inputs and outputs are called.

    `used` is what the names of its weights begin with; its module may have others. `repeated` names inputs that the
    graph also takes as one row for the whole batch, and the input whose rows count.
    """

    part: ClassVar[str]
    repeated: ClassVar[Mapping[str, str]] = {}
    used: ClassVar[tuple[str, ...]] = ("",)

    @property
    def names(self) -> GraphNames:
        """Names of the inputs, in the order of `forward`, and of the outputs."""
        return GRAPHS[self.part]

    @abstractmethod
    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Random inputs of several batches and sizes, the same ones on every call.

        The first is also what the graph is traced with, so no free axis of it may have size 1.
        """

    def pictures(self, side: int) -> dict[str, tuple[Tensor, ...]]:
        """Inputs of one row for a canvas of `side` pixels: "flat", "half masked" (grey, and noise) and "random"."""
        return {}

    def weights(self) -> dict[str, Tensor]:
        """The weights that the graph computes with, by name."""
        return {name: weight for name, weight in self.state_dict().items() if name.startswith(self.used)}

    @property
    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """Content of the part's `config.json`."""


class TextEncoderGraph(PartGraph):
    """`input_ids` (batch, sequence) int64 -> `last_hidden_state` (batch, sequence, width) float32, and `clip_skip.N`.

    Those have the same shape: the last N layers left out, normalised as the last one is.
    A text encoder that was trained with a mask (`use_attention_mask`) also takes `attention_mask`, int64 like the ids.
    Optimum writes `hidden_states.N`, not normalised, for SDXL alone; SD1.x needs the normalised ones, whose weights
    are in the graph, so they have a name of their own.
    """

    part = "text_encoder"

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        # diffusers asks for it by this name (StableDiffusionPipeline.encode_prompt).
        self.masked = bool(getattr(text_encoder.config, "use_attention_mask", False))

    @property
    def names(self) -> GraphNames:
        """The part's, the mask where there is one, and an output for every number of layers that can be left out."""
        names, layers = GRAPHS[self.part], int(self.text_encoder.config.num_hidden_layers)
        skipped = {CLIP_SKIP.format(number): TOKENS for number in range(1, layers)}
        mask = {"attention_mask": TOKENS} if self.masked else {}
        return GraphNames({**names.inputs, **mask}, {**names.outputs, **skipped})

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Embeddings of a batch of token sequences, after the last layer and after each one before it, last first."""
        found = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        # The first is what enters the first layer, the last has its place as `last_hidden_state`.
        earlier = found.hidden_states[1:-1][::-1]
        normalise = getattr(self.text_encoder, "text_model", self.text_encoder).final_layer_norm
        return (found.last_hidden_state, *(normalise(state) for state in earlier))

    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Full sequences, and one that is shorter."""
        config, generator = self.text_encoder.config, seeded()
        longest = int(config.max_position_embeddings)
        shapes = ((2, longest), (1, longest), (3, max(2, longest // 4)))
        ids = [torch.randint(0, int(config.vocab_size), shape, generator=generator) for shape in shapes]
        if not self.masked:
            return [(each,) for each in ids]
        # Padding follows the tokens, so that every row attends to its first.
        return [
            (each, (torch.arange(each.shape[1]) < each.shape[1] // 2).long().expand(each.shape).clone()) for each in ids
        ]

    @property
    def config(self) -> Mapping[str, Any]:
        """The CLIPTextConfig."""
        return {key: value for key, value in self.text_encoder.config.to_dict().items() if key not in LOCAL_KEYS}


class UnetGraph(PartGraph):
    """`sample` (batch, 4 or 9, h, w), `timestep` (batch,), `encoder_hidden_states` -> `out_sample`; all float32.

    `encoder_hidden_states` is (batch, sequence, width), `out_sample` (batch, 4, h, w). `timestep` is what diffusers'
    schedulers of Karras' kind hand to the UNet: DPM2's midpoints are no whole numbers. A UNet that was distilled with
    guidance (`time_cond_proj_dim`, as latent consistency models are) also takes `timestep_cond` (batch, that width),
    the embedding of the guidance scale.
    """

    part = "unet"
    # Optimum's pipelines feed one timestep for all rows, cast to the graph's element type whatever the scheduler
    # gave (ORTUnet.forward and ORTSessionMixin._prepare_onnx_inputs in optimum-onnx).
    repeated = {"timestep": "sample"}

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        self.guidance_width: int | None = unet.config.get("time_cond_proj_dim")

    @property
    def names(self) -> GraphNames:
        """The part's, and the embedding of the guidance scale where the UNet takes one."""
        names = GRAPHS[self.part]
        guidance = {} if self.guidance_width is None else {"timestep_cond": {0: "batch_size"}}
        return GraphNames({**names.inputs, **guidance}, names.outputs)

    def forward(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, timestep_cond: Tensor | None = None
    ) -> Tensor:
        """Prediction of the UNet for noisy latents, as its checkpoint was trained (noise or velocity)."""
        prediction: Tensor = self.unet(
            sample, timestep, encoder_hidden_states, timestep_cond=timestep_cond, return_dict=False
        )[0]
        return prediction

    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Latents of three sizes.

        The first size is odd on purpose: only then does diffusers resize to the skip connections' sizes
        instead of doubling, and only a graph traced that way takes every size (SD1.5 would otherwise need
        multiples of 64 pixels).
        """
        generator = seeded()
        factor = 2 ** (len(self.unet.config["block_out_channels"]) - 1)
        unit = max(8, factor)
        sizes = ((2, 2 * unit + 1, unit + 3, 77), (1, 2 * unit, 2 * unit, 77), (3, unit, 2 * unit, 30))
        return [
            (
                torch.randn(batch, int(self.unet.config["in_channels"]), height, width, generator=generator),
                torch.rand(batch, generator=generator) * (TIMESTEPS - 1),
                torch.randn(batch, length, int(self.unet.config["cross_attention_dim"]), generator=generator),
                *self._guidance(batch, generator),
            )
            for batch, height, width, length in sizes
        ]

    def pictures(self, side: int) -> dict[str, tuple[Tensor, ...]]:
        """Latents of such a canvas, in the middle of the schedule, with a text of 77 tokens."""
        config = self.unet.config
        text = torch.randn(1, 77, int(config["cross_attention_dim"]), generator=seeded())
        timestep = torch.full((1,), TIMESTEPS / 2)
        filled = _filled(int(config["in_channels"]), side // FACTOR, 1.0)
        guidance = self._guidance(1, seeded())
        return {label: (sample, timestep, text, *guidance) for label, sample in filled.items()}

    def _guidance(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        if self.guidance_width is None:
            return ()
        return (torch.randn(batch, self.guidance_width, generator=generator),)

    @property
    def config(self) -> Mapping[str, Any]:
        """The UNet2DConditionModel's configuration."""
        return _configuration(self.unet)


class VaeEncoderGraph(PartGraph):
    """`sample` (batch, 3, H, W) in [-1, 1] -> `latent_parameters` (batch, 8, h, w): mean and log variance."""

    part = "vae_encoder"
    used = ("vae.encoder.", "vae.quant_conv.")

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, sample: Tensor) -> Tensor:
        """Moments of the latents of a batch of pictures, not scaled."""
        moments: Tensor = self.vae.encode(sample, return_dict=False)[0].parameters
        return moments

    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Pictures of three sizes."""
        generator, factor = seeded(), 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        sizes = ((2, 8, 12), (1, 16, 16), (3, 9, 5))
        shapes = [(batch, int(self.vae.config["in_channels"]), h * factor, w * factor) for batch, h, w in sizes]
        return [(torch.rand(shape, generator=generator) * 2 - 1,) for shape in shapes]

    def pictures(self, side: int) -> dict[str, tuple[Tensor, ...]]:
        """Pictures of that size."""
        return {label: (sample,) for label, sample in _filled(int(self.vae.config["in_channels"]), side, 0.5).items()}

    @property
    def config(self) -> Mapping[str, Any]:
        """The AutoencoderKL's configuration."""
        return _configuration(self.vae)


class VaeDecoderGraph(PartGraph):
    """`latent_sample` (batch, 4, h, w), not scaled -> `sample` (batch, 3, H, W), about [-1, 1]."""

    part = "vae_decoder"
    used: ClassVar[tuple[str, ...]] = ("vae.decoder.", "vae.post_quant_conv.")

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample: Tensor) -> Tensor:
        """Pictures of a batch of latents."""
        pictures: Tensor = self.vae.decode(latent_sample, return_dict=False)[0]
        return pictures

    def feeds(self) -> list[tuple[Tensor, ...]]:
        """Latents of three sizes, as wide as real ones."""
        generator, deviation = seeded(), 1 / float(self.vae.config["scaling_factor"])
        sizes = ((2, 8, 12), (1, 16, 16), (3, 9, 5))
        shapes = [(batch, int(self.vae.config["latent_channels"]), h, w) for batch, h, w in sizes]
        return [(torch.randn(shape, generator=generator) * deviation,) for shape in shapes]

    def pictures(self, side: int) -> dict[str, tuple[Tensor, ...]]:
        """Latents of such pictures."""
        channels, deviation = int(self.vae.config["latent_channels"]), 1 / float(self.vae.config["scaling_factor"])
        return {label: (sample,) for label, sample in _filled(channels, side // FACTOR, deviation).items()}

    @property
    def config(self) -> Mapping[str, Any]:
        """The autoencoder's configuration."""
        return _configuration(self.vae)


class TinyDecoderGraph(VaeDecoderGraph):
    """`latent_sample` (batch, 4, h, w), scaled -> `sample` (batch, 3, H, W), about [-1, 1], by an AutoencoderTiny."""

    part = "tiny_decoder"
    used = ("vae.decoder.",)

    def forward(self, latent_sample: Tensor) -> Tensor:
        """Pictures of a batch of latents, of which diffusers' pipelines take the autoencoder's own scaling first."""
        return super().forward(latent_sample / self.vae.config["scaling_factor"])


def _configuration(module: UNet2DConditionModel | AutoencoderKL | AutoencoderTiny) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(module.to_json_string())
    return {key: value for key, value in content.items() if key not in LOCAL_KEYS}


def _filled(channels: int, side: int, deviation: float) -> dict[str, Tensor]:
    """(1, channels, side, side) of one value, of noise beside nothing as on a half masked canvas, and of noise."""
    noise = torch.randn(1, channels, side, side, generator=seeded()) * deviation
    masked = noise.clone()
    masked[..., side // 2 :] = 0
    return {"flat": torch.full_like(noise, deviation), "half masked": masked, "random": noise}


def seeded() -> torch.Generator:
    """A generator of the same numbers each time."""
    return torch.Generator().manual_seed(0)
