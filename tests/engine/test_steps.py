"""Every step of every scheduler on the tiny exported UNets, against what diffusers' pipeline went through."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engines import EngineOptions

from ..latent_steps import estimated_error, largest_error, latents_of_steps, step_sums
from ..parity_cases import CHANNELS, Case, scheduled, trajectory_cases

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="module")
def pipes() -> dict[int, OutpaintPipeline]:
    # Such small layers take longer on two threads than on one.
    options = EngineOptions(threads=1)
    return {n: OutpaintPipeline.from_pretrained(GOLDENS / f"tiny-{n}", options=options) for n in CHANNELS}


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "steps.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("case", trajectory_cases(), ids=str)
def test_every_step_equals_the_recorded_one(
    pipes: dict[int, OutpaintPipeline], recorded: dict[str, np.ndarray], case: Case
) -> None:
    found = latents_of_steps(scheduled(pipes[case.channels], case).steps(case.request))
    assert estimated_error(found, recorded[str(case)]) < 1e-4


def test_an_error_in_any_single_value_is_seen_in_the_recorded_sums() -> None:
    latents = np.random.default_rng(0).standard_normal((256, 4, 8, 8), np.float32)
    changed = latents.copy()
    changed.reshape(256, 256)[np.diag_indices(256)] += 1e-3
    for found, expected in zip(changed, latents, strict=True):
        estimate = estimated_error(found[None], step_sums(expected[None]))
        assert estimate == pytest.approx(largest_error(found[None], expected[None]), rel=0.01)
