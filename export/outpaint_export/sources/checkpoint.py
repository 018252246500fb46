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

__all__ = ["Origin", "Sources", "check_text_encoder", "check_unet", "check_vae"]

LATENT_CHANNELS = 4
UNET_CHANNELS = (LATENT_CHANNELS, 2 * LATENT_CHANNELS + 1)
OTHER_CONDITIONS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim")
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
class Sources:
    """One checkpoint: a function for each module, the scheduler's configuration, the tokenizer, the origin.

    A function is called once for each graph that is made of its module (twice for the VAE) and its result is
    dropped before the next one is called, so a checkpoint larger than memory allows at once can be exported.
    Modules are used in float32 and in eval mode.
    """

    text_encoder: Callable[[], nn.Module]
    unet: Callable[[], nn.Module]
    vae: Callable[[], nn.Module]
    scheduler: Mapping[str, Any]
    tokenizer: CLIPTokenizer
    origin: Origin

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
    """Raise a `SourceError` unless every token of `tokenizer` has a row in the text encoder."""
    rows = int(text_encoder.config.vocab_size)
    if len(tokenizer) > rows:
        raise SourceError(
            f"The tokenizer has {len(tokenizer)} tokens and the text encoder {rows} rows, so they do not belong "
            "together. Use the tokenizer of the same checkpoint."
        )


def check_unet(unet: UNet2DConditionModel) -> None:
    """Raise a `SourceError` unless the UNet has 4 or 9 input channels and no condition but text and timestep."""
    channels = int(unet.config["in_channels"])
    if channels not in UNET_CHANNELS:
        raise SourceError(f"The UNet has {channels} input channels; 4 (plain) or 9 (inpainting) can be used. {FAMILY}.")
    others = [name for name in OTHER_CONDITIONS if unet.config.get(name) is not None]
    if others:
        raise SourceError(f"The UNet needs conditions that this program does not give ({', '.join(others)}). {FAMILY}.")
    if not isinstance(unet.config["sample_size"], int):
        raise SourceError(
            f"The UNet's configuration gives {unet.config['sample_size']} as sample_size, not one number."
        )
    if not isinstance(unet.config["cross_attention_dim"], int):
        raise SourceError(f"The UNet's blocks attend to texts of different widths. {FAMILY}.")


def check_vae(vae: AutoencoderKL) -> None:
    """Raise a `SourceError` unless the VAE has four latent channels and is scaled by one number."""
    if int(vae.config["latent_channels"]) != LATENT_CHANNELS:
        raise SourceError(f"The VAE has {vae.config['latent_channels']} latent channels instead of 4. {FAMILY}.")
    shifted = [name for name in ("shift_factor", "latents_mean", "latents_std") if vae.config.get(name) is not None]
    if shifted:
        raise SourceError(f"The VAE's latents are shifted ({', '.join(shifted)}). {FAMILY}.")
