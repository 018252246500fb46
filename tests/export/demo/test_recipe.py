"""The demo's recipe at a tiny size: every stage runs a step or two, and a finished stage is read back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from demo_model import autoencoder, denoiser, latent_statistics
from demo_model.fit import Plan
from demo_model.pictures import Pictures
from demo_model.train import CHECKPOINT, Recipe, train_demo
from diffusers import AutoencoderKL

TINY = Recipe(
    pictures={64: 6, 128: 3},
    pools=((64, 64, 4, 11), (128, 64, 2, 12)),
    start=Plan("autoencoder-start", 2, 1e-3),
    joint=Plan("autoencoder-joint", 4, 1e-3, seed=1),
    denoiser=Plan("denoiser", 1, 1e-3, seed=2),
    decoder=Plan("decoder", 2, 1e-3, seed=3),
)


@pytest.fixture(autouse=True)
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoiser, "BATCH", 1)
    monkeypatch.setattr(denoiser, "BLOCK_OUT_CHANNELS", (16, 16, 16, 16))
    monkeypatch.setattr(autoencoder, "CROPS_A_BATCH", 2)
    monkeypatch.setattr(autoencoder, "BLOCK_OUT_CHANNELS", (8, 8, 8, 8))


# diffusers' pipeline wants another steps_offset than trailing spacing has use for.
@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler:FutureWarning")
def test_every_stage_runs_and_the_trained_model_is_whitened_with_little_noise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Two steps leave every channel as small as random weights make it.
    monkeypatch.setattr(latent_statistics, "SMALLEST", 0.0)
    train_demo(tmp_path, "cpu", TINY)
    vae = AutoencoderKL.from_pretrained(tmp_path / CHECKPOINT / "vae")
    pixels = Pictures.drawn(TINY.pictures, tmp_path).large(np.random.default_rng(0))
    with torch.no_grad():
        posterior = vae.encode(pixels).latent_dist
    assert torch.allclose(posterior.std, torch.tensor(0.02)) and vae.config["scaling_factor"] == 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert {path.stem for path in written} >= {"autoencoder-start", "autoencoder-joint", "denoiser", "decoder"}

    train_demo(tmp_path, "cpu", TINY)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    again = AutoencoderKL.from_pretrained(tmp_path / CHECKPOINT / "vae")
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), again.parameters(), strict=True))


def test_a_dead_channel_stops_the_training_once_the_latents_should_have_settled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(autoencoder, "SETTLING", 4)
    with pytest.raises(latent_statistics.DeadChannel, match="smallest has to be at least 0.3"):
        train_demo(tmp_path, "cpu", TINY)
    assert not (tmp_path / "autoencoder-joint.safetensors").exists()
