"""Trains the demo model from nothing: one seeded command, hours on two cores, resumable.

Order: autoencoder on drawn pictures, latents encoded once, text encoder and UNet, and last the decoder alone, whose
changes the UNet does not notice. Held-out scenes, for tests and for the figures in the docs, come from another seed
(`scenes.HELD_OUT_SEED`).
"""

from dataclasses import dataclass, field
from pathlib import Path

from diffusers import AutoencoderKL
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.checkpoint import Origin, Sources
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from . import autoencoder, denoiser
from .autoencoder import train_autoencoder, train_decoder
from .captions import new_tokenizer
from .denoiser import Pool, encode_pool, scheduler_config, train_denoiser
from .fit import Plan
from .pictures import COUNTS, Pictures
from .scenes import scenes

CHECKPOINT = "diffusers"
"""The trained model as a diffusers folder, inside the training's: what `outpaint-export parity` compares with."""


@dataclass(frozen=True)
class Recipe:
    """What is drawn and how long each part is trained.

    `pictures` says how many scenes the autoencoder sees of each size; `pools` are width, height, scenes and seed of
    each pool that the UNet learns from.
    """

    pictures: dict[int, int] = field(default_factory=lambda: COUNTS)
    pools: tuple[tuple[int, int, int, int], ...] = ((256, 256, 4000, 11), (384, 256, 1000, 12))
    start: Plan = autoencoder.START_PLAN
    joint: Plan = autoencoder.JOINT_PLAN
    denoiser: Plan = denoiser.PLAN
    decoder: Plan = autoencoder.DECODER_PLAN


def train_demo(folder: Path, device: str = "cpu", recipe: Recipe | None = None) -> Sources:
    """Train, or resume, in `folder`; a finished stage is read back instead of run again. What returns is on the CPU."""
    recipe = recipe or Recipe()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Pictures.drawn(recipe.pictures, folder)
    vae = train_autoencoder(pictures, folder, device, (recipe.start, recipe.joint)).eval()
    pools = [_pool(vae, folder, *pool) for pool in recipe.pools]
    tokenizer = new_tokenizer()
    trained = train_denoiser(pools, tokenizer, folder, device, recipe.denoiser)
    train_decoder(vae, pictures, folder, device, recipe.decoder)
    origin = Origin("outpaint_engine demo: landscape posters", license="Apache-2.0")
    modules = trained.text_encoder.cpu(), trained.unet.cpu(), vae.cpu()
    sources = Sources.of_modules(modules, scheduler_config(), tokenizer, origin)
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
