"""How good an autoencoder is on scenes it was never trained on, and whether every latent channel says something."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from demo_model.scenes import KINDS, Scene, draw
from tqdm import tqdm

from outpaint_engine.components import Models

from .picture_figures import explained_gradient, psnr, sharpness

Array = np.ndarray

SIDE = 256


class Autoencoder(NamedTuple):
    """Pixels (1, 3, 8h, 8w) in [-1, 1] to the latents' means (1, 4, h, w), and back."""

    encode: Callable[[Array], Array]
    decode: Callable[[Array], Array]

    def rebuilt(self, pixels: Array) -> tuple[Array, Array]:
        """A picture (h, w, 3) in [0, 255] through both, and its latents."""
        latents = self.encode((pixels / 127.5 - 1).transpose(2, 0, 1)[None].astype(np.float32))
        return self.shown(latents), latents

    def shown(self, latents: Array) -> Array:
        """The picture (h, w, 3) in [0, 255] of `latents`."""
        decoded: Array = (np.clip(self.decode(latents)[0], -1, 1).transpose(1, 2, 0) + 1) * 127.5
        return decoded


def of_models(models: Models) -> Autoencoder:
    """The autoencoder of an opened engine set."""
    return Autoencoder(lambda pixels: models.vae_encoder.encode(pixels).mean, models.vae_decoder.decode)


def of_folder(folder: Path) -> Autoencoder:
    """The autoencoder of a diffusers folder: a pipeline's, or an AutoencoderKL's own."""
    import torch
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(folder / "vae" if (folder / "vae").is_dir() else folder).eval()

    @torch.no_grad()
    def encode(pixels: Array) -> Array:
        means: Array = model.encode(torch.from_numpy(pixels)).latent_dist.mean.numpy()
        return means

    @torch.no_grad()
    def decode(latents: Array) -> Array:
        decoded: Array = model.decode(torch.from_numpy(latents)).sample.numpy()
        return decoded

    return Autoencoder(encode, decode)


def is_diffusers_folder(folder: Path) -> bool:
    """Whether `folder` holds a diffusers pipeline or an AutoencoderKL, and no engine set."""
    config = folder / "config.json"
    if config.exists():
        return bool(json.loads(config.read_text()).get("_class_name") == "AutoencoderKL")
    return (folder / "vae").is_dir()


@dataclass(frozen=True)
class AutoencoderFigures:
    """Means over held-out scenes; by kind where it says so; components from the largest to the smallest."""

    psnr: float
    sharpness: float
    sharpness_by_kind: dict[str, float]
    explained_gradient: float
    explained_gradient_by_kind: dict[str, float]
    component_deviations: list[float]
    """Standard deviations of the latents' principal components."""
    removed_component_costs: list[float]
    """PSNR, in dB, that is lost where a component is replaced by its mean."""


def measure_autoencoder(autoencoder: Autoencoder, chosen: Sequence[Scene], side: int = SIDE) -> AutoencoderFigures:
    """Rebuild every scene of `chosen` at `side` pixels, five times."""
    kept, found = [], []
    for scene in tqdm(chosen, desc=f"autoencoder at {side}"):
        truth = draw(scene, side, side)
        picture, latents = autoencoder.rebuilt(truth)
        kept.append((truth, latents))
        found.append((psnr(picture, truth), sharpness(picture, truth), explained_gradient(picture, truth)))
    quality, sharp, explained = zip(*found, strict=True)
    deviations, directions, mean = _components([latents for _, latents in kept])
    costs = [
        statistics.mean(quality) - statistics.mean(_without(autoencoder, kept, direction, mean))
        for direction in tqdm(directions, desc="components removed")
    ]
    return AutoencoderFigures(
        statistics.mean(quality),
        statistics.mean(sharp),
        by_kind(chosen, sharp),
        statistics.mean(explained),
        by_kind(chosen, explained),
        deviations,
        costs,
    )


def psnr_at(autoencoder: Autoencoder, chosen: Sequence[Scene], side: int) -> float:
    """Mean PSNR in dB of the scenes at `side` pixels, through encoder and decoder in one piece."""
    pictures = (draw(scene, side, side) for scene in tqdm(chosen, desc=f"autoencoder at {side}"))
    return statistics.mean(psnr(autoencoder.rebuilt(picture)[0], picture) for picture in pictures)


def by_kind(chosen: Sequence[Scene], values: Sequence[float]) -> dict[str, float]:
    """Mean of `values`, one a scene, for each kind of which there are scenes."""
    grouped = {kind: [v for s, v in zip(chosen, values, strict=True) if s.kind == kind] for kind in KINDS}
    return {kind: statistics.mean(group) for kind, group in grouped.items() if group}


def _components(latents: list[Array]) -> tuple[list[float], list[Array], Array]:
    """Standard deviations and directions (4,) of the latents' principal components, the largest first; the mean."""
    values = np.concatenate([one[0].reshape(one.shape[1], -1) for one in latents], axis=1).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(values))
    return [float(v) for v in np.sqrt(variances[::-1])], list(directions.T[::-1]), values.mean(axis=1)


def _without(autoencoder: Autoencoder, kept: list[tuple[Array, Array]], direction: Array, mean: Array) -> list[float]:
    """PSNR of every picture where the latents' part along `direction` is that of the mean."""
    found = []
    for truth, latents in kept:
        along = np.einsum("c,nchw->nhw", direction, latents - mean[None, :, None, None])
        less = latents - direction[None, :, None, None] * along[:, None]
        found.append(psnr(autoencoder.shown(less.astype(np.float32)), truth))
    return found
