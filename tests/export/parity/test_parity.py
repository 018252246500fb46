"""Same weights, same seed: the exported engines and diffusers' inpaint pipeline, side by side."""

from pathlib import Path
from typing import Any

import pytest
from outpaint_export.exporting import export_parts
from outpaint_export.parity.fidelity import BOUNDS, decoded, figures
from outpaint_export.parity.reference import outpaint, reference_pipeline, reference_scheduler

from outpaint_engine import OutpaintPipeline

from ...parity_cases import CHANNELS, Case, cases, scheduled
from ..tiny_models import sources

Side = tuple[OutpaintPipeline, Any]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, inpainting_set: Path) -> dict[int, Side]:
    """Channels to (our pipeline on the exported engines, diffusers' pipeline)."""
    folder = tmp_path_factory.mktemp("reference")
    tiny = {channels: sources(channels, folder / f"words-{channels}") for channels in CHANNELS}
    export_parts(tiny[4], folder / "plain")
    return {
        channels: (OutpaintPipeline.from_pretrained(exported), reference_pipeline(tiny[channels]))
        for channels, exported in ((4, folder / "plain"), (9, inpainting_set))
    }


@pytest.mark.parametrize("case", cases(), ids=str)
def test_latents_and_pixels_equal_diffusers(sides: dict[int, Side], case: Case) -> None:
    pipe, reference = sides[case.channels]
    reference.scheduler = reference_scheduler("DDIM", case.config)
    pipe = scheduled(pipe, case)
    found = pipe(case.request).latents
    assert figures((found, decoded(pipe, found)), outpaint(reference, case.request)).keeps(BOUNDS["fp32"])
