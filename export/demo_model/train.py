"""Trains the demo model from nothing and exports it: one seeded command, over two hours on two cores, resumable.

Order: autoencoder on drawn pictures, latents encoded once, text encoder and UNet, and last the decoder alone, whose
changes the UNet does not notice. Held-out scenes, for tests and for the figures in the docs, come from another seed
(`scenes.HELD_OUT_SEED`).
"""

import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.checkpoint import Origin, Sources
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from .autoencoder import train_autoencoder, train_decoder
from .captions import new_tokenizer
from .denoiser import Pool, encode_pool, new_scheduler, train_denoiser
from .scenes import draw, scenes

PICTURES, PICTURES_SEED = 3000, 7
POOLS = ((256, 256, 4000, 11), (384, 256, 1000, 12))
"""Width, height, scenes and seed of each pool the UNet learns from."""
CHECKPOINT = "diffusers"
"""The trained model as a diffusers folder, inside the training's: what `outpaint-export parity` compares with."""


def train_demo(folder: Path) -> Sources:
    """Train, or resume, in `folder`; a finished stage is read back instead of run again."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    chosen = scenes(PICTURES_SEED, PICTURES)
    pictures = np.stack([draw(scene) for scene in tqdm(chosen, desc="drawing", total=PICTURES, mininterval=10)])
    vae = train_autoencoder(pictures, folder).eval()
    pools = [_pool(vae, folder, *pool) for pool in POOLS]
    tokenizer = new_tokenizer()
    denoiser = train_denoiser(pools, tokenizer, folder)
    train_decoder(vae, pictures, folder)
    origin = Origin("outpaint_engine demo: landscape posters", license="Apache-2.0")
    modules = denoiser.text_encoder, denoiser.unet, vae
    sources = Sources.of_modules(modules, new_scheduler().config, tokenizer, origin)
    reference_pipeline(sources).save_pretrained(folder / CHECKPOINT)
    return sources


def _pool(vae: AutoencoderKL, folder: Path, width: int, height: int, count: int, seed: int) -> Pool:
    chosen = list(scenes(seed, count))
    captions = [scene.caption for scene in chosen]
    path = folder / f"pool-{width}x{height}.safetensors"
    if not path.exists():
        pool = encode_pool(vae, tqdm(chosen, desc=path.stem, mininterval=10), width, height, seed)
        save_file({"latents": pool.latents, "masks": pool.masks, "masked": pool.masked}, path)
    return Pool(captions, **load_file(path))
