"""What an export reads: the modules of one checkpoint, each loaded when its turn comes, and where they are from.

Nothing here knows how a checkpoint is stored; `folders`, `hub` and `checkpoints` do. What is checked here is
what the runtime relies on: a UNet with 4 or 9 input channels that is conditioned by one CLIP text encoder and
a timestep, and a four-channel latent space with one scaling factor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..errors import SourceError

__all__ = ["Origin", "SafetySource", "Sources", "check_text_encoder", "check_unet", "check_vae"]

LATENT_CHANNELS = 4
COLOURS, LATENT_FACTOR = 3, 8
UNET_CHANNELS = (LATENT_CHANNELS, 2 * LATENT_CHANNELS + 1)
OTHER_CONDITIONS = (
    "addition_embed_type",
    "class_embed_type",
    "num_class_embeds",
    "encoder_hid_dim_type",
)
DOUBLING_BLOCKS = ("ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D", "KUpBlock2D", "KCrossAttnUpBlock2D")
"""Of diffusers' blocks, those that double a size instead of going back to the one before it was halved."""
FEWEST_TOKENS = 3
"""A word between two marks."""
FAMILY = "Only checkpoints of the Stable Diffusion 1.5 family can be exported"


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint is from: a name to show, its revision and its licence (empty where unknown).

    `synthetic` weights are random numbers, which nobody trained.
    """

    name: str
    revision: str = ""
    license: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class SafetySource:
    """A function that loads a safety checker, and the content of its `preprocessor_config.json`."""

    load: Callable[[], nn.Module]
    preparation: Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """One checkpoint: a function for each module, the scheduler's configuration, the tokenizer, the origin.

    A function is called once for each graph that is made of its module (twice for the VAE) and its result is
    dropped before the next one is called, so a checkpoint larger than memory allows at once can be exported.
    Modules are used in float32 and in eval mode. `safety_checker` and `tiny_decoder` are None where the set is to have
    none.
    """

    text_encoder: Callable[[], nn.Module]
    unet: Callable[[], nn.Module]
    vae: Callable[[], nn.Module]
    scheduler: Mapping[str, Any]
    tokenizer: CLIPTokenizer
    origin: Origin
    safety_checker: SafetySource | None = None
    tiny_decoder: Callable[[], nn.Module] | None = None

    @classmethod
    def of_modules(
        cls,
        modules: tuple[CLIPTextModel, UNet2DConditionModel, AutoencoderKL],
        scheduler: Mapping[str, Any],
        tokenizer: CLIPTokenizer,
        origin: Origin,
    ) -> "Sources":
        """Modules that are in memory already: (text encoder, UNet, VAE). They are put into eval mode and float32."""
        text_encoder, unet, vae = modules
        return cls(lambda: text_encoder, lambda: unet, lambda: vae, scheduler, tokenizer, origin)


def check_text_encoder(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Raise a `SourceError` unless every token of `tokenizer` has a row, and a prompt has room."""
    rows = int(text_encoder.config.vocab_size)
    if len(tokenizer) > rows:
        raise SourceError(
            f"The tokenizer has {len(tokenizer)} tokens and the text encoder {rows} rows, so they do not belong "
            "together. Use the tokenizer of the same checkpoint."
        )
    positions = int(text_encoder.config.max_position_embeddings)
    if positions < FEWEST_TOKENS:
        raise SourceError(f"The text encoder reads {positions} tokens at a time: no room for a word between its marks.")


def check_unet(unet: UNet2DConditionModel, text_width: int) -> None:
    """Raise a `SourceError` unless the UNet can be run on latents of any size, a text and a timestep alone.

    One that was distilled with guidance takes its strength too (`time_cond_proj_dim`).

    `text_width` is that of the text encoder's embeddings.
    """
    channels, output = int(unet.config["in_channels"]), int(unet.config["out_channels"])
    if channels not in UNET_CHANNELS:
        raise SourceError(f"The UNet has {channels} input channels; 4 (plain) or 9 (inpainting) can be used. {FAMILY}.")
    if output != LATENT_CHANNELS:
        also = ", as of a model that predicts the variance too" if output == 2 * LATENT_CHANNELS else ""
        raise SourceError(f"The UNet has {output} output channels{also}; {LATENT_CHANNELS} can be used. {FAMILY}.")
    others = [name for name in OTHER_CONDITIONS if unet.config.get(name) is not None]
    if others:
        raise SourceError(f"The UNet needs conditions that this program does not give ({', '.join(others)}). {FAMILY}.")
    if doubling := [name for name in DOUBLING_BLOCKS if name in unet.config["up_block_types"]]:
        raise SourceError(
            f"The UNet is built of {' and '.join(doubling)}, which take latents of even sizes only, and a canvas may "
            f"have odd ones. {FAMILY}."
        )
    if not isinstance(unet.config["sample_size"], int):
        raise SourceError(
            f"The UNet's configuration gives {unet.config['sample_size']} as sample_size, not one number."
        )
    if not isinstance(unet.config["cross_attention_dim"], int):
        raise SourceError(f"The UNet's blocks attend to texts of different widths. {FAMILY}.")
    if unet.config["cross_attention_dim"] != text_width:
        raise SourceError(
            f"The UNet attends to texts of width {unet.config['cross_attention_dim']} and the text encoder gives "
            f"{text_width}, so they do not belong together. Use the parts of one checkpoint."
        )


def check_vae(vae: AutoencoderKL) -> None:
    """Raise a `SourceError` unless the VAE makes four latent channels of RGB at an eighth, scaled by one number."""
    colours = {int(vae.config[name]) for name in ("in_channels", "out_channels")}
    factor = 2 ** (len(vae.config["block_out_channels"]) - 1)
    if colours != {COLOURS} or factor != LATENT_FACTOR:
        raise SourceError(
            f"The VAE has {' and '.join(map(str, sorted(colours)))} colour channels and one latent for {factor} pixels "
            f"a side; {COLOURS} and {LATENT_FACTOR} can be used. {FAMILY}."
        )
    if int(vae.config["latent_channels"]) != LATENT_CHANNELS:
        raise SourceError(f"The VAE has {vae.config['latent_channels']} latent channels instead of 4. {FAMILY}.")
    shifted = [name for name in ("shift_factor", "latents_mean", "latents_std") if vae.config.get(name) is not None]
    if shifted:
        raise SourceError(f"The VAE's latents are shifted ({', '.join(shifted)}). {FAMILY}.")
