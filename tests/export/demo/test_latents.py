"""The latents of the demo's autoencoder: the code they begin from, and the whitening folded into two layers."""

import numpy as np
import pytest
import torch
from demo_model.block_pca import BlockPca
from demo_model.latent_statistics import (
    DeadChannel,
    away_from_identity,
    check_components,
    fix_posterior,
    moments,
    whiten,
)
from demo_model.pictures import to_tensor
from demo_model.reconstruction import pooled_gradient_error, reconstruction_error
from demo_model.scenes import draw, scenes
from diffusers import AutoencoderKL
from torch import Tensor


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return to_tensor(np.stack([draw(scene, 64, 64) for scene in scenes(5, 20)]))


@pytest.fixture
def small_autoencoder() -> AutoencoderKL:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(**blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4).eval()


def test_the_linear_code_has_mean_zero_and_covariance_identity(pictures: Tensor) -> None:
    mean, covariance = moments(BlockPca.of(pictures).coefficients(pictures))
    assert torch.allclose(mean, torch.zeros(4), atol=1e-3)
    assert torch.allclose(covariance, torch.eye(4), atol=1e-3)


def test_the_linear_codes_first_number_is_the_blocks_brightness(pictures: Tensor) -> None:
    first = BlockPca.of(pictures).coefficients(pictures)[:, 0].flatten()
    brightness = torch.nn.functional.avg_pool2d(pictures, 8).mean(dim=1).flatten()
    assert torch.corrcoef(torch.stack([first, brightness]))[0, 1].abs() > 0.95


@torch.no_grad()
def test_whitening_changes_the_latents_and_not_the_picture(small_autoencoder: AutoencoderKL, pictures: Tensor) -> None:
    model = small_autoencoder
    before = model.encode(pictures).latent_dist.mean
    decoded = model.decode(before).sample
    whiten(model, *moments(before))
    after = model.encode(pictures).latent_dist.mean
    assert away_from_identity(after) < 1e-6 < away_from_identity(before)
    assert torch.allclose(model.decode(after).sample, decoded, atol=1e-4)


@torch.no_grad()
def test_every_latent_gets_the_same_noise(small_autoencoder: AutoencoderKL, pictures: Tensor) -> None:
    fix_posterior(small_autoencoder, 0.02)
    assert torch.allclose(small_autoencoder.encode(pictures).latent_dist.std, torch.tensor(0.02))


@pytest.mark.parametrize("smallest", [0.0, 0.29])
def test_a_small_component_is_refused_even_where_every_channel_varies(smallest: float) -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    covariance = turn @ torch.tensor([2.0, 1.0, 1.0, smallest]).square().diag() @ turn.T
    assert covariance.diag().min() > 0.3**2
    with pytest.raises(DeadChannel):
        check_components(covariance)
    check_components(covariance + 0.1 * torch.eye(4))


def test_an_edge_a_pixel_off_costs_less_when_only_its_strength_nearby_counts() -> None:
    truth = -torch.ones(1, 3, 32, 32)
    truth[..., 18:] = 1
    off, blurred = truth.clone(), truth.clone()
    off[..., 17] = 1
    blurred[..., 15:20] = torch.tensor([-0.6, -0.2, 0.2, 0.6, 1.0])
    assert pooled_gradient_error(off, truth) < 0.01 * pooled_gradient_error(blurred, truth)
    assert reconstruction_error(off, truth) > reconstruction_error(blurred, truth)
