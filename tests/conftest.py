"""Fixtures of more than one tier: a toy model that needs no engine library, and a small picture."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline
from outpaint_engine.components import Models, TextEncoder, Unet, VaeDecoder, VaeEncoder
from outpaint_engine.engine_set import EngineSet
from outpaint_engine.prompts import Prompts
from outpaint_engine.safety import SafetyChecker

SD15_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def pytest_configure() -> None:
    """Give each of several workers cores of its own: engines take a thread a core, and wait for theirs by spinning."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if worker and workers and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        own = cores[int(worker.removeprefix("gw")) :: int(workers)]
        if own:
            os.sched_setaffinity(0, own)


class ToyTokenizer:
    """One token a letter."""

    start, end, pad = 1, 2, 3

    def ids(self, text: str) -> list[int]:
        return [ord(letter) % 128 for letter in text]


class ToyPrompts(Prompts):
    def __init__(self) -> None:
        self._tokenizer = ToyTokenizer()  # type: ignore[assignment]


def toy_unet(sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray) -> dict[str, np.ndarray]:
    text = encoder_hidden_states.mean(axis=(1, 2))[:, None, None, None]
    return {"out_sample": 0.3 * sample[:, :4] + 0.05 * sample.mean(axis=1, keepdims=True) + 0.01 * text}


def toy_encoder(sample: np.ndarray) -> dict[str, np.ndarray]:
    rows, _, height, width = sample.shape
    blocks = sample.reshape(rows, 3, height // 8, 8, width // 8, 8).mean(axis=(3, 5))
    mean = np.concatenate([blocks, blocks[:, :1]], axis=1)
    return {"latent_parameters": np.concatenate([mean, np.full_like(mean, -30)], axis=1)}


def toy_decoder(latent_sample: np.ndarray) -> dict[str, np.ndarray]:
    return {"sample": np.tanh(latent_sample[:, :3].repeat(8, axis=2).repeat(8, axis=3))}


def toy_pipeline(
    channels: int = 4,
    unet: Callable[..., dict[str, np.ndarray]] = toy_unet,
    text: FunctionEngine | None = None,
    tokens: int | str = "tokens",
    safety_checker: SafetyChecker | None = None,
) -> OutpaintPipeline:
    """A pipeline whose parts are a few lines of numpy; `unet` and `text` replace one.

    `tokens` is how many text tokens its UNet takes, by default any number.
    """
    engine_set = EngineSet(
        folder=Path("toy"),
        source={"name": "toy"},
        unet_channels=channels,
        latent_scale=1.0,
        latent_factor=8,
        native_size=64,
        prediction_type="epsilon",
        scheduler=SD15_SCHEDULER,
        artifacts=(),
    )
    text = text or FunctionEngine(
        lambda input_ids: {"last_hidden_state": np.repeat(input_ids[..., None] / 128, 4, axis=2).astype("float32")},
        {"input_ids": ("B", 77)},
        {"last_hidden_state": ("B", 77, 4)},
        {"input_ids": "int64"},
    )
    denoising = FunctionEngine(
        unet,
        {"sample": ("B", channels, "h", "w"), "timestep": ("B",), "encoder_hidden_states": ("B", tokens, 4)},
        {"out_sample": ("B", 4, "h", "w")},
    )
    encoder = FunctionEngine(toy_encoder, {"sample": ("B", 3, "H", "W")}, {"latent_parameters": ("B", 8, "h", "w")})
    decoder = FunctionEngine(toy_decoder, {"latent_sample": ("B", 4, "h", "w")}, {"sample": ("B", 3, "H", "W")})
    return OutpaintPipeline(
        Models(
            engine_set,
            ToyPrompts(),
            TextEncoder(text),
            Unet(denoising),
            VaeEncoder(encoder, 1.0),
            VaeDecoder(decoder, 1.0),
        ),
        safety_checker=safety_checker,
    )


@pytest.fixture
def toy() -> Callable[..., OutpaintPipeline]:
    """`toy(channels=4)` is a pipeline without an engine library; see `toy_pipeline`."""
    return toy_pipeline


@pytest.fixture
def picture() -> np.ndarray:
    """64x48 pixels of smooth colour with some texture."""
    y, x = np.mgrid[0:48, 0:64]
    rng = np.random.default_rng(0)
    smooth = np.stack([x * 3, y * 4, 255 - x * 2], axis=-1)
    return np.clip(smooth + rng.integers(-8, 8, smooth.shape), 0, 255).astype(np.uint8)
