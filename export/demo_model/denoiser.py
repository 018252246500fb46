"""Trains the demo's CLIPTextModel and its 9-channel UNet2DConditionModel, together and from nothing.

The UNet predicts v on a schedule that ends in pure noise (Lin et al. 2023, "Common Diffusion Noise
Schedules and Sample Steps are Flawed"): with the usual schedule a small model keeps the training pictures'
mean brightness and night scenes come out too bright. Latents, masks and masked-image latents are encoded
once, before training (`Pool`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import worded
from .fit import Plan, fit
from .masks import masked_picture, outpainting_mask
from .pictures import to_tensor
from .scenes import Scene, draw

PLAN = Plan("denoiser", 7000, 7e-4, seed=2, warmup=300)
BATCH = 32
DROPPED_CAPTIONS = 0.1
POOL_SHARES = (0.75, 0.25)
BLOCK_OUT_CHANNELS = (64, 128, 192, 192)
TEXT_WIDTH = 96


def new_scheduler() -> DDIMScheduler:
    """SD1.5's beta schedule, rescaled to end in pure noise; trailing spacing so that sampling starts there."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def scheduler_config() -> dict[str, Any]:
    """What a checkpoint with that scheduler says of it; `config` itself does not name the class."""
    return {"_class_name": "DDIMScheduler", **new_scheduler().config}


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained text encoder, always with the same weights."""
    torch.manual_seed(1)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """The untrained UNet. No attention at the first level, so that large canvases stay cheap."""
    torch.manual_seed(2)
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=9,
        out_channels=4,
        block_out_channels=BLOCK_OUT_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    ).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Pool:
    """Scenes of one canvas size, encoded: everything the UNet sees but noise. Latents are scaled, fp16.

    latents (n, 4, h, w); masks (n, 1, h, w), 1 = unknown; masked (n, 4, h, w), the masked picture's latents.
    """

    captions: list[str]
    latents: Tensor
    masks: Tensor
    masked: Tensor


@torch.no_grad()
def encode_pool(vae: AutoencoderKL, chosen: Iterable[Scene], width: int, height: int, seed: int) -> Pool:
    """Draw and encode `chosen` on a canvas of `width` x `height` pixels."""
    rng = np.random.default_rng(seed)
    captions, latents, masks, masked = [], [], [], []
    for scene in chosen:
        captions.append(scene.caption)
        pixels = to_tensor(draw(scene, width, height)[None])
        mask = torch.from_numpy(outpainting_mask(height // 8, width // 8, rng))[None]
        batch = torch.cat([pixels, masked_picture(pixels, mask)]).contiguous(memory_format=torch.channels_last)
        means = vae.encode(batch.to(vae.device)).latent_dist.mean
        encoded = (means * vae.config["scaling_factor"]).half().cpu()
        latents.append(encoded[0])
        masks.append(mask)
        masked.append(encoded[1])
    return Pool(captions, torch.stack(latents), torch.stack(masks), torch.stack(masked))


class Denoiser(nn.Module):
    """Text encoder and UNet as the one module that is trained."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = new_text_encoder(tokenizer)
        self.unet = new_unet()
        self.scheduler = new_scheduler()

    def loss(self, pools: list[Pool], rng: np.random.Generator) -> Tensor:
        """Weighted squared error of v over one batch; a wide pool gets a smaller batch, so steps cost the same."""
        pool = pools[int(rng.choice(len(pools), p=POOL_SHARES))]
        size = max(1, round(BATCH * 32 * 32 / pool.latents[0, 0].numel()))
        index = torch.from_numpy(rng.integers(len(pool.captions), size=size))
        latents, masks = pool.latents[index].float(), pool.masks[index]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (size,))
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        target = self.scheduler.get_velocity(latents, noise, timesteps)
        texts = ["" if rng.random() < DROPPED_CAPTIONS else worded(pool.captions[i], rng) for i in index.tolist()]
        tokens = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        device = self.unet.device
        context = self.text_encoder(tokens.to(device)).last_hidden_state
        sample = torch.cat([noisy, masks, pool.masked[index].float()], dim=1)
        sample = sample.to(device).contiguous(memory_format=torch.channels_last)
        predicted = self.unet(sample, timesteps.to(device), context).sample.float()
        weights = noise_weights(self.scheduler.alphas_cumprod[timesteps]) * place_weights(masks)
        return (weights.to(device) * (predicted - target.to(device)).square()).mean()


def noise_weights(alphas_cumprod: Tensor) -> Tensor:
    """Min-SNR weights (Hang et al. 2023, gamma 5) for v, shape (B, 1, 1, 1): steps with little noise count less.

    Both signal-to-noise ratios are taken plus 1, so that the step from pure noise, which sets the colours, counts.
    """
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return ((snr.clamp(max=5) + 1) / (snr + 1)).view(-1, 1, 1, 1)


def place_weights(masks: Tensor) -> Tensor:
    """Shape (B, 1, h, w): 2 where it is painted within 3 latents of the picture, else 1.

    What is given counts like the rest, although it is pasted back in the end: it is where the UNet learns to use
    the masked picture.
    """
    return 1 + nn.functional.max_pool2d(1 - masks, 7, stride=1, padding=3) * masks


def train_denoiser(
    pools: list[Pool], tokenizer: CLIPTokenizer, folder: Path, device: str = "cpu", plan: Plan = PLAN
) -> Denoiser:
    """Train on `pools`; state and result live in `folder`."""
    model = Denoiser(tokenizer).to(device)
    # On a CPU, matrix products one by one are a fifth faster to train through than the fused attention,
    # which the exporter needs.
    model.unet.set_attn_processor(AttnProcessor())
    fit(model, lambda rng: model.loss(pools, rng), plan, folder)
    model.unet.set_attn_processor(AttnProcessor2_0())
    return model
