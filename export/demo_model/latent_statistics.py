"""Keeps every latent channel alive: the latents' covariance is pulled to the identity in training and made it after."""

import math

import torch
from diffusers import AutoencoderKL
from outpaint_export.errors import ExportError
from torch import Tensor

SMALLEST = 0.3
"""The least standard deviation that a principal component of the latents may have."""


class DeadChannel(ExportError):
    """A principal component of the latents carries next to nothing."""


def moments(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (c,) and covariance (c, c) over all places of `latents` (n, c, h, w)."""
    values = latents.transpose(0, 1).flatten(1)
    return values.mean(dim=1), torch.cov(values)


def away_from_identity(latents: Tensor) -> Tensor:
    """Mean square of what `latents`' means and covariance differ from 0 and from the identity, a scalar."""
    mean, covariance = moments(latents.float())
    return mean.square().mean() + (covariance - torch.eye(len(mean), device=mean.device)).square().mean()


def check_components(covariance: Tensor) -> None:
    """Refuse latents of which a principal component is smaller than `SMALLEST`.

    Raises:
        DeadChannel: one is.
    """
    deviations = torch.linalg.eigvalsh(covariance.double()).clamp(min=0).sqrt()
    if deviations.min() < SMALLEST:
        found = ", ".join(f"{float(value):.3f}" for value in deviations)
        raise DeadChannel(
            f"The latents' principal components have standard deviations of {found}; the smallest has to be at least "
            f"{SMALLEST}. Train with a larger weight on the covariance (autoencoder.COVARIANCE_WEIGHT)."
        )


@torch.no_grad()
def whiten(model: AutoencoderKL, mean: Tensor, covariance: Tensor) -> None:
    """Fold into `quant_conv` and `post_quant_conv` that latents of these moments get mean 0 and covariance identity.

    The symmetric root is taken (ZCA), so every channel stays as close to what it was as whitening allows.
    """
    variances, directions = torch.linalg.eigh(covariance.double())
    root = directions @ variances.sqrt().diag() @ directions.T
    channels = len(mean)
    inverse, root = torch.linalg.inv(root).to(mean), root.to(mean)
    weight, bias = model.quant_conv.weight[:channels, :, 0, 0], model.quant_conv.bias[:channels]
    model.quant_conv.weight[:channels, :, 0, 0] = inverse @ weight
    model.quant_conv.bias[:channels] = inverse @ (bias - mean)
    back = model.post_quant_conv.weight[:, :, 0, 0].clone()
    model.post_quant_conv.weight[:, :, 0, 0] = back @ root
    model.post_quant_conv.bias += back @ mean


@torch.no_grad()
def fix_posterior(model: AutoencoderKL, deviation: float) -> None:
    """Give every latent the same small noise of standard deviation `deviation`, whatever the picture.

    A pipeline shows the UNet a sample of the masked picture's latents; one that learnt from the means takes no heed of
    a picture shown with much noise.
    """
    channels = len(model.quant_conv.weight) // 2
    model.quant_conv.weight[channels:] = 0
    model.quant_conv.bias[channels:] = 2 * math.log(deviation)
