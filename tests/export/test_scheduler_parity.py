"""Same weights, same seed, every scheduler: the recorded tiny engines and diffusers' inpaint pipeline, side by side."""

import dataclasses
import importlib.util
from pathlib import Path

import diffusers
import numpy as np
import pytest
from outpaint_export import sd15

from outpaint_engine import OutpaintPipeline

from ..parity_cases import CHANNELS, LATENT_BOUND, PIXEL_SHARE, Case, relative_error, share_within_one_level
from .reference import outpaint, tiny_pipeline
from .trajectories import SCHEDULERS

GOLDENS = Path(__file__).parents[1] / "goldens"
# diffusers hands torch tensors to numpy in a way that numpy 2 will not take for ever.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{method}:DeprecationWarning")
    for method in ("__array__ implementation", "__array_wrap__ must")
]
Side = tuple[OutpaintPipeline, diffusers.StableDiffusionInpaintPipeline]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Side]:
    folder = tmp_path_factory.mktemp("reference")
    return {
        channels: (
            OutpaintPipeline.from_pretrained(GOLDENS / f"tiny-{channels}"),
            tiny_pipeline(channels, folder / str(channels)),
        )
        for channels in CHANNELS
    }


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(("channels", "strength"), [(4, 1.0), (4, 0.75), (9, 1.0)])
def test_latents_and_pixels_equal_diffusers(sides: dict[int, Side], name: str, channels: int, strength: float) -> None:
    kind, own = SCHEDULERS[name]
    if name == "LMS" and importlib.util.find_spec("scipy") is None:
        pytest.skip("diffusers' LMS needs scipy")
    pipe, reference = sides[channels]
    reference.scheduler = getattr(diffusers, kind).from_config({**sd15.SCHEDULER, **own})
    case = Case(channels, strength, 7.5, (64, 64), 10)
    latents, pixels = outpaint(reference, case)
    found = pipe(dataclasses.replace(case.request, scheduler=name)).latents
    # The engines take whole timesteps, and DPM2's midpoints lie between them.
    bound, share = (1e-2, 0.99) if name.startswith("DPM2") else (LATENT_BOUND, PIXEL_SHARE)
    assert relative_error(found, latents) <= bound
    decoded = pipe.models.vae_decoder.decode(found)[0].transpose(1, 2, 0)
    assert share_within_one_level(np.clip(np.rint(decoded * 127.5 + 127.5), 0, 255), pixels) >= share
