"""Trains the demo's AutoencoderKL: 3 x H x W pixels to 4 x H/8 x W/8 latents and back.

Crops first, because they are cheap; then whole pictures, because GroupNorm sees other statistics there and a
decoder that knows only crops shifts the colours of a whole picture (measured: up to 8 dB). Statistics also differ
between a picture and the same picture with a grey part, which is how the UNet is shown what is known: its latents
there were 0.4 standard deviations off. The last stage of the encoder brings the two together.
"""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from torch import Tensor

from .fit import Plan, fit
from .masks import masked_picture, outpainting_mask

BLOCK_OUT_CHANNELS = (16, 32, 64, 128)
CROP = 64
CROPS_A_BATCH = 16
KL_WEIGHT = 1e-4
MASKED_WEIGHT = 0.5
PLANS = (
    Plan("autoencoder-crops", 4000, 1.5e-3),
    Plan("autoencoder-whole", 2500, 6e-4, seed=1),
    Plan("autoencoder-masked", 1400, 1e-3, seed=4),
)
DECODER_PLAN = Plan("decoder", 7000, 8e-4, seed=3)
POSTERIOR_STD = 0.02
"""Of every latent in the end: what training gave the channels that carry most."""


def new_autoencoder() -> AutoencoderKL:
    """The untrained autoencoder, always with the same weights."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=BLOCK_OUT_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=256,
    ).to(memory_format=torch.channels_last)


def train_autoencoder(pictures: NDArray[np.uint8], folder: Path) -> AutoencoderKL:
    """Train on `pictures`, uint8 of shape (n, height, width, 3); state and result live in `folder`."""
    model = new_autoencoder()
    losses = (
        lambda rng: _loss(model, _crops(pictures, rng)),
        lambda rng: _loss(model, _partly_grey(pictures, rng)),
        lambda rng: _loss_with_mask(model, _whole(pictures, rng), torch.from_numpy(outpainting_mask(32, 32, rng))),
    )
    for plan, loss in zip(PLANS, losses, strict=True):
        fit(model, loss, plan, folder)
    with torch.no_grad():
        some = torch.cat([model.encode(_tensor(pictures[i : i + 4])).latent_dist.mean for i in range(0, 400, 4)])
    model.register_to_config(scaling_factor=round(1 / float(some.std()), 5))
    _fix_posterior(model)
    return model


def _fix_posterior(model: AutoencoderKL) -> None:
    """Give every latent the same small noise.

    A pipeline shows the UNet a sample of the masked picture's latents. Training leaves the channel that carries least
    with a standard deviation of 0.3, and a UNet that learnt from the means takes no heed of a picture shown so.
    """
    with torch.no_grad():
        model.quant_conv.weight[4:] = 0
        model.quant_conv.bias[4:] = 2 * math.log(POSTERIOR_STD)


def train_decoder(model: AutoencoderKL, pictures: NDArray[np.uint8], folder: Path) -> None:
    """Sharpen the decoder of a trained `model` in place; latents keep their meaning, so a UNet trained on them fits."""
    for encoding in (model.encoder, model.quant_conv):
        encoding.requires_grad_(False)
    fit(model, lambda rng: _loss(model, _whole(pictures, rng), gradients=1.0), DECODER_PLAN, folder)


def _tensor(pictures: NDArray[np.uint8]) -> Tensor:
    scaled = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return scaled.contiguous(memory_format=torch.channels_last)


def _crops(pictures: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    height, width = pictures.shape[1:3]
    crops = []
    for index in rng.integers(len(pictures), size=CROPS_A_BATCH):
        top, left = rng.integers(height - CROP + 1), rng.integers(width - CROP + 1)
        crop = pictures[index, top : top + CROP, left : left + CROP]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return _tensor(np.stack(crops))


def _partly_grey(pictures: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    """One whole picture; half of the time a side of it is grey, so that the decoder knows that too."""
    picture = pictures[rng.integers(len(pictures))].copy()
    if rng.random() < 0.5:
        at = 8 * rng.integers(4, 28)
        (picture[:at], picture[at:], picture[:, :at], picture[:, at:])[rng.integers(4)][...] = 127
    return _tensor(picture[None])


def _whole(pictures: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    return _tensor(pictures[rng.integers(len(pictures))][None])


def _loss(model: AutoencoderKL, pixels: Tensor, gradients: float = 0.5) -> Tensor:
    return _reconstruction(model, model.encode(pixels).latent_dist, pixels, gradients)


def _reconstruction(
    model: AutoencoderKL, posterior: DiagonalGaussianDistribution, pixels: Tensor, gradients: float = 0.5
) -> Tensor:
    """L1 + 0.5 MSE + `gradients` times the L1 of the picture's gradients + a little KL."""
    error = model.decode(posterior.sample()).sample - pixels
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    kl: Tensor = posterior.kl().mean() / posterior.mean[0].numel()
    return error.abs().mean() + 0.5 * error.square().mean() + gradients * slopes + KL_WEIGHT * kl


def _loss_with_mask(model: AutoencoderKL, pixels: Tensor, mask: Tensor) -> Tensor:
    """Also how far the latents of what is known move, in standard deviations, when the rest is grey (`mask` 1)."""
    whole = model.encode(pixels).latent_dist
    hidden = masked_picture(pixels, mask).contiguous(memory_format=torch.channels_last)
    moved = (model.encode(hidden).latent_dist.mean - whole.mean) * (1 - mask) / whole.mean.detach().std()
    return _reconstruction(model, whole, pixels) + MASKED_WEIGHT * moved.square().mean()
