"""The tiny exported engines against what diffusers answered when the goldens were recorded."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline

from ..parity_cases import CHANNELS, LATENT_BOUND, PIXEL_SHARE, Case, cases, relative_error, share_within_one_level

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="module")
def pipes() -> dict[int, OutpaintPipeline]:
    return {channels: OutpaintPipeline.from_pretrained(GOLDENS / f"tiny-{channels}") for channels in CHANNELS}


@pytest.fixture(scope="module")
def answers() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "parity.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_latents_and_pixels_equal_the_recorded_ones(
    pipes: dict[int, OutpaintPipeline], answers: dict[str, np.ndarray], case: Case
) -> None:
    pipe = pipes[case.channels]
    found = pipe(case.request).latents
    assert relative_error(found, answers[f"{case}|latents"]) <= LATENT_BOUND
    decoded = pipe.models.vae_decoder.decode(found)[0].transpose(1, 2, 0)
    pixels = np.clip(np.rint(decoded * 127.5 + 127.5), 0, 255)
    assert share_within_one_level(pixels, answers[f"{case}|pixels"]) >= PIXEL_SHARE
