"""Same weights, same seed, every scheduler: the recorded tiny engines and diffusers' inpaint pipeline, side by side."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from outpaint_export.parity.fidelity import BOUNDS, decoded, figures
from outpaint_export.parity.reference import not_comparable, reference_pipeline

from outpaint_engine import OutpaintPipeline

from ...latent_steps import largest_error, latents_of_steps
from ...parity_cases import CHANNELS, SCHEDULERS, Case, scheduled, trajectory_cases
from ..tiny_models import sources
from .trajectories import outpaint_steps

GOLDENS = Path(__file__).parents[2] / "goldens"
# diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
    for method in ("__array__ implementation", "__array_wrap__ must")
]
Side = tuple[OutpaintPipeline, Any]
CASES = [
    *trajectory_cases(),
    *(Case(9, 1.0, 7.5, (64, 64), 10, "zero_snr", name) for name in SCHEDULERS),
]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Side]:
    folder = tmp_path_factory.mktemp("reference")
    return {
        channels: (
            OutpaintPipeline.from_pretrained(GOLDENS / f"tiny-{channels}"),
            reference_pipeline(sources(channels, folder / str(channels))),
        )
        for channels in CHANNELS
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_step_and_the_picture_equal_diffusers(sides: dict[int, Side], case: Case) -> None:
    if reason := not_comparable(case.scheduler):
        pytest.skip(reason)
    pipe, reference = sides[case.channels]
    pipe = scheduled(pipe, case)
    found = latents_of_steps(pipe.steps(case.request))
    expected, picture = outpaint_steps(reference, case.request, case.config)
    assert largest_error(found, expected) < 1e-4
    last = found[-1:]
    assert figures((last, decoded(pipe, last)), (expected[-1:], picture)).keeps(BOUNDS["fp32"])


def test_ddim_with_eta_equals_diffusers(sides: dict[int, Side]) -> None:
    pipe, reference = sides[4]
    request = dataclasses.replace(Case(4, 0.75, 7.5, (64, 64), 10).request, eta=0.8)
    expected, _ = outpaint_steps(reference, request, Case(4, 0.75, 7.5, (64, 64), 10).config)
    assert largest_error(latents_of_steps(pipe.steps(request)), expected) < 1e-4
