"""Trains the demo's AutoencoderKL: 3 x H x W pixels to 4 x H/8 x W/8 latents and back.

Begun from a linear code (`block_pca`), so that all four channels carry something from the first step; then encoder
and decoder together; then the latents are whitened for good; last the decoder alone, whose changes a UNet trained on
the latents does not notice.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .block_pca import BlockPca
from .fit import Plan, fit
from .latent_statistics import away_from_identity, check_components, fix_posterior, moments, whiten
from .masks import masked_picture, outpainting_mask
from .pictures import Pictures, to_tensor
from .reconstruction import pooled_gradient_error, reconstruction_error

BLOCK_OUT_CHANNELS = (16, 32, 64, 128)
CROP, CROPS_A_BATCH = 64, 8
LARGE_SHARE = 0.25
"""How many steps see a large picture and the rest a batch of crops, which is cheaper."""
COVARIANCE_WEIGHT = 0.05
MASKED_WEIGHT = 0.25
POOLED_GRADIENT_WEIGHT = 0.3
SETTLING = 1000
"""Steps of both together after which every principal component has to be large enough."""
NOISE = 0.02
"""Standard deviation of the noise on every latent, in training and in the posterior of the trained model."""
START_PLAN = Plan("autoencoder-start", 300, 1.5e-3, bfloat16=False)
JOINT_PLAN = Plan("autoencoder-joint", 12000, 1e-3, seed=1, bfloat16=False)
DECODER_PLAN = Plan("decoder", 3000, 5e-4, seed=3, bfloat16=False)


def new_autoencoder() -> AutoencoderKL:
    """The untrained autoencoder, always with the same weights."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=BLOCK_OUT_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=256,
    ).to(memory_format=torch.channels_last)


def train_autoencoder(
    pictures: Pictures,
    folder: Path,
    device: str = "cpu",
    plans: tuple[Plan, Plan] = (START_PLAN, JOINT_PLAN),
) -> AutoencoderKL:
    """Train on `pictures`; state and result live in `folder`.

    Raises:
        DeadChannel: a principal component of the latents carries next to nothing.
    """
    model = new_autoencoder().to(device)
    pca = BlockPca.of(_crops(pictures, np.random.default_rng(0), 2000))
    some = _crops(pictures, np.random.default_rng(1), 64).to(device)

    @torch.no_grad()
    def watch(step: int) -> None:
        if step >= SETTLING:
            check_components(moments(_means(model, some))[1])

    fit(model, lambda rng: _start_loss(model, pca, _crops(pictures, rng).to(device)), plans[0], folder)
    fit(model, lambda rng: _joint_loss(model, pictures, rng, device), plans[1], folder, watch)
    settle_latents(model, pictures)
    return model


def train_decoder(
    model: AutoencoderKL, pictures: Pictures, folder: Path, device: str = "cpu", plan: Plan = DECODER_PLAN
) -> None:
    """Sharpen the decoder of a trained `model` in place; latents keep their meaning, so a UNet trained on them fits."""
    for encoding in (model.encoder, model.quant_conv):
        encoding.requires_grad_(False)
    fit(model, lambda rng: _decoder_loss(model, _large(pictures, rng).to(device)), plan, folder)


@torch.no_grad()
def settle_latents(model: AutoencoderKL, pictures: Pictures) -> None:
    """Whiten the latents of whole pictures for good and give them their small noise; latents then need no scaling.

    Raises:
        DeadChannel: a principal component carries next to nothing.
    """
    whole = pictures.by_size[pictures.side][:400]
    device = model.device
    means = [_means(model, to_tensor(whole[at : at + 4]).to(device)) for at in range(0, len(whole), 4)]
    mean, covariance = moments(torch.cat(means))
    check_components(covariance)
    whiten(model, mean, covariance)
    fix_posterior(model, NOISE)
    model.register_to_config(scaling_factor=1.0)


def _crops(pictures: Pictures, rng: np.random.Generator, count: int | None = None) -> Tensor:
    return pictures.crops(count or CROPS_A_BATCH, CROP, rng)


def _means(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    means: Tensor = model.encode(pixels).latent_dist.mean
    return means


def _decoded(model: AutoencoderKL, latents: Tensor) -> Tensor:
    decoded: Tensor = model.decode(latents + NOISE * torch.randn_like(latents)).sample
    return decoded


def _start_loss(model: AutoencoderKL, pca: BlockPca, pixels: Tensor) -> Tensor:
    """The encoder learns the linear code, the decoder to read it; neither sees the other."""
    code = pca.coefficients(pixels)
    return (_means(model, pixels) - code).square().mean() + reconstruction_error(_decoded(model, code), pixels)


def _joint_loss(model: AutoencoderKL, pictures: Pictures, rng: np.random.Generator, device: str) -> Tensor:
    if rng.random() < LARGE_SHARE:
        return _masked_loss(model, _large(pictures, rng).to(device), rng)
    pixels = _crops(pictures, rng).to(device)
    latents = _means(model, pixels)
    return reconstruction_error(_decoded(model, latents), pixels) + COVARIANCE_WEIGHT * away_from_identity(latents)


def _large(pictures: Pictures, rng: np.random.Generator) -> Tensor:
    """One large picture; a fifth of the time a side of it is grey, so that the decoder knows that too."""
    pixels = pictures.large(rng)
    if rng.random() < 0.2:
        mask = outpainting_mask(pixels.shape[-2] // 8, pixels.shape[-1] // 8, rng)
        pixels = masked_picture(pixels, torch.from_numpy(mask)).contiguous(memory_format=torch.channels_last)
    return pixels


def _masked_loss(model: AutoencoderKL, pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Also how far the latents of what is known move when the rest is grey: the UNet is shown the picture so.

    They were 0.42 standard deviations off without this, since GroupNorm sees other statistics there.
    """
    mask = torch.from_numpy(outpainting_mask(pixels.shape[-2] // 8, pixels.shape[-1] // 8, rng)).to(pixels.device)
    hidden = masked_picture(pixels, mask).contiguous(memory_format=torch.channels_last)
    latents = _means(model, pixels)
    moved = (_means(model, hidden) - latents) * (1 - mask)
    return reconstruction_error(_decoded(model, latents), pixels) + MASKED_WEIGHT * moved.square().mean()


def _decoder_loss(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        latents = _means(model, pixels)
    decoded = _decoded(model, latents)
    return reconstruction_error(decoded, pixels) + POOLED_GRADIENT_WEIGHT * pooled_gradient_error(decoded, pixels)
