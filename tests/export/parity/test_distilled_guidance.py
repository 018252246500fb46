"""UNets that were distilled with guidance (`time_cond_proj_dim`, full latent consistency models) against diffusers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from outpaint_export.exporting import ExportOptions, export_parts
from outpaint_export.parity.fidelity import BOUNDS
from outpaint_export.parity.reference import outpaint, reference_pipeline, reference_scheduler

from outpaint_engine import OutpaintPipeline
from outpaint_engine.denoise import Reuse, guidance_embedding
from outpaint_engine.errors import RequestError

from ...parity_cases import Case
from .. import tiny_models

pytestmark = pytest.mark.export
WIDTH = 15
CASE = Case(4, 1.0, 8.5, (64, 64), 4, scheduler="LCM")


@pytest.mark.parametrize("width", [8, 15, 256])
@pytest.mark.parametrize("scale", [1.0, 1.5, 8.5])
def test_the_embedding_of_a_guidance_scale_is_that_of_diffusers(scale: float, width: int) -> None:
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    expected = theirs(None, torch.tensor(scale - 1).repeat(1), embedding_dim=width).numpy()  # type: ignore[arg-type]
    np.testing.assert_allclose(guidance_embedding(scale, width), expected, atol=1e-3)


def test_a_distilled_unet_is_told_the_scale_and_paints_what_it_paints_in_diffusers(tmp_path: Path) -> None:
    tiny = dataclasses.replace(
        tiny_models.sources(4, tmp_path / "words"), unet=lambda: tiny_models.unet(4, time_cond_proj_dim=WIDTH)
    )
    export_parts(tiny, tmp_path / "set", ExportOptions(quick=True))
    reference = reference_pipeline(tiny)
    reference.scheduler = reference_scheduler("LCM", reference.scheduler.config)
    with OutpaintPipeline.from_pretrained(tmp_path / "set", device="ort-cpu") as pipe:
        for case in (CASE, CASE._replace(guidance=1.0), CASE._replace(strength=0.75)):
            found = pipe(dataclasses.replace(case.request, negative_prompt=None))
            expected, _ = outpaint(reference, case.request)
            error = np.abs(found.latents - expected).max() / np.abs(expected).max()
            assert error < BOUNDS["fp32"].latent_error and set(found.timings.rows) == {1}
        assert "The negative prompt is not read: this UNet was distilled with guidance." in pipe(CASE.request).notes
        with pytest.raises(RequestError, match="guidance_rescale cannot be used: this UNet was distilled"):
            pipe(dataclasses.replace(CASE.request, guidance_rescale=0.5))
        reused = {"scheduler": "DDIM", "num_inference_steps": 6, "reuse": Reuse(2, method="shallow")}
        assert np.isfinite(pipe(dataclasses.replace(CASE.request, **reused)).latents).all()
