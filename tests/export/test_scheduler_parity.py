"""Same weights, same seed, every scheduler: the recorded tiny engines and diffusers' inpaint pipeline, side by side."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from outpaint_export.fidelity import BOUNDS, decoded, figures
from outpaint_export.reference import SCHEDULERS, not_comparable, outpaint, reference_pipeline, reference_scheduler

from outpaint_engine import OutpaintPipeline

from ..parity_cases import CHANNELS, Case, scheduled
from .tiny_models import sources

GOLDENS = Path(__file__).parents[1] / "goldens"
# diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
    for method in ("__array__ implementation", "__array_wrap__ must")
]
Side = tuple[OutpaintPipeline, Any]


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


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(
    "case",
    [
        Case(4, 1.0, 7.5, (64, 64), 10),
        Case(4, 0.75, 7.5, (64, 64), 10),
        Case(9, 1.0, 7.5, (64, 64), 10),
        Case(4, 0.75, 7.5, (64, 64), 10, "velocity"),
        Case(9, 1.0, 7.5, (64, 64), 10, "velocity"),
        Case(9, 1.0, 7.5, (64, 64), 10, "zero_snr"),
    ],
    ids=str,
)
def test_latents_and_pixels_equal_diffusers(sides: dict[int, Side], name: str, case: Case) -> None:
    if reason := not_comparable(name, case.schedule):
        pytest.skip(reason)
    pipe, reference = sides[case.channels]
    reference.scheduler = reference_scheduler(name, case.schedule)
    pipe = scheduled(pipe, case)
    request = dataclasses.replace(case.request, scheduler=name)
    found = pipe(request).latents
    assert figures((found, decoded(pipe, found)), outpaint(reference, request)).keeps(BOUNDS["fp32"])
