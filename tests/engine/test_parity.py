"""The tiny exported engines against what diffusers answered when the goldens were recorded."""

from pathlib import Path

import numpy as np
import pytest
from outpaint_export.parity.fidelity import BOUNDS, decoded, figures

from outpaint_engine import OutpaintPipeline

from ..parity_cases import CHANNELS, Case, cases, scheduled

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
    pipe = scheduled(pipes[case.channels], case)
    found = pipe(case.request).latents
    expected = answers[f"{case}|latents"], answers[f"{case}|pixels"]
    assert figures((found, decoded(pipe, found)), expected).keeps(BOUNDS["fp32"])
