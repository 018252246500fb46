"""Same weights, same seed: the exported engines and diffusers' inpaint pipeline, side by side."""

from pathlib import Path

import numpy as np
import pytest
from outpaint_export.exporting import export_parts

from outpaint_engine import OutpaintPipeline

from ..parity_cases import LATENT_BOUND, PIXEL_SHARE, Case, cases, relative_error, share_within_one_level
from .reference import outpaint, tiny_pipeline
from .tiny_models import sources

Side = tuple[OutpaintPipeline, object]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, inpainting_set: Path) -> dict[int, Side]:
    """Channels to (our pipeline on the exported engines, diffusers' pipeline)."""
    folder = tmp_path_factory.mktemp("reference")
    export_parts(sources(4, folder / "words"), folder / "plain")
    return {
        channels: (OutpaintPipeline.from_pretrained(exported), tiny_pipeline(channels, folder / str(channels)))
        for channels, exported in ((4, folder / "plain"), (9, inpainting_set))
    }


@pytest.mark.parametrize("case", cases(), ids=str)
def test_latents_and_pixels_equal_diffusers(sides: dict[int, Side], case: Case) -> None:
    pipe, reference = sides[case.channels]
    latents, pixels = outpaint(reference, case)
    found = pipe(case.request).latents
    assert relative_error(found, latents) <= LATENT_BOUND
    decoded = pipe.models.vae_decoder.decode(found)[0].transpose(1, 2, 0)
    assert share_within_one_level(np.clip(np.rint(decoded * 127.5 + 127.5), 0, 255), pixels) >= PIXEL_SHARE
