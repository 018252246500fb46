"""The demo engine set: its size, its command, and its quality over scenes it was never trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from outpaint_engine import OutpaintPipeline
from outpaint_engine.engine_set import demo_folder

from .demo.autoencoder_figures import of_models, psnr_at
from .demo.painted_figures import PaintedFigures, measure_painted
from .demo_figures import held_out

SCENES = 5
"""`python -m tests.engine.demo_figures` measures 40."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "sunset-mountains.png"


@pytest.fixture(scope="module")
def demo() -> Iterator[OutpaintPipeline]:
    with OutpaintPipeline.from_pretrained("demo") as pipe:
        yield pipe


@pytest.fixture(scope="module")
def painted(demo: OutpaintPipeline) -> PaintedFigures:
    return measure_painted(demo, held_out(SCENES))


def test_the_set_stays_small() -> None:
    sizes = [path.stat().st_size for path in demo_folder().rglob("*") if path.is_file()]
    assert sum(sizes) <= 40e6
    assert max(sizes) <= 30e6


def test_the_set_is_what_the_exporter_wrote(demo: OutpaintPipeline) -> None:
    engine_set = demo.models.engine_set
    assert engine_set.unet_channels == 9 and engine_set.native_size == 256
    assert all(artifact.parity["max_rel_error"] < 0.02 for artifact in engine_set.artifacts)


def test_the_readmes_example_is_extended_on_both_sides(demo: OutpaintPipeline) -> None:
    result = demo(image=EXAMPLE, prompt="sunset mountains with sun", width=448, height=256, offset_x=96, seed=3)
    out = np.asarray(result.images[0])
    with Image.open(EXAMPLE) as example:
        assert np.array_equal(out[:, 104:344], np.asarray(example)[:, 8:248])
    # Neither side is a flat colour.
    assert out[:, :96].std(axis=(0, 1)).min() > 10 and out[:, 352:].std(axis=(0, 1)).min() > 10


def test_the_unet_is_shown_the_picture_nearly_without_noise(demo: OutpaintPipeline) -> None:
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)
    shown = demo.models.vae_encoder.encode(pixels)
    assert shown.std.max() < 0.03 < shown.mean.std()


def test_known_pixels_outside_the_band_are_identical(painted: PaintedFigures) -> None:
    assert painted.changed_pixels == 0


def test_the_autoencoder_keeps_the_picture(demo: OutpaintPipeline) -> None:
    assert psnr_at(of_models(demo.models), held_out(SCENES), demo.models.engine_set.native_size) >= 30


def test_no_line_and_no_blur_shows_at_the_seam(painted: PaintedFigures) -> None:
    assert 0.85 <= painted.seam_gradient_ratio <= 1.25


def test_colour_does_not_jump_across_the_seam(painted: PaintedFigures) -> None:
    assert painted.ring_color_shift <= 4


def test_the_time_of_day_in_the_prompt_is_painted(painted: PaintedFigures) -> None:
    assert painted.time_of_day_followed >= 0.85
