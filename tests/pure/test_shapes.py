"""The shapes that a canvas means for each part."""

from pathlib import Path

import pytest

from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.shapes import Bucket, part_shapes, shapes_to_prepare

TINY = EngineSet.open(Path(__file__).parents[1] / "goldens" / "tiny-9")
CASES = [
    ("text_encoder", {"input_ids": (1, 77)}),
    ("unet", {"sample": (4, 9, 32, 64), "timestep": (4,), "encoder_hidden_states": (4, 77, 32)}),
    ("vae_encoder", {"sample": (1, 3, 256, 512)}),
    ("vae_decoder", {"latent_sample": (1, 4, 32, 64)}),
]


@pytest.mark.parametrize(("part", "expected"), CASES, ids=PARTS)
def test_a_canvas_means_these_shapes(part: str, expected: dict[str, tuple[int, ...]]) -> None:
    (found,) = shapes_to_prepare(TINY, [Bucket(512, 256, 4)])[part]
    assert dict(found) == expected


def test_without_a_canvas_the_sets_native_size_is_prepared() -> None:
    ((_, picture),) = shapes_to_prepare(TINY)["vae_encoder"][0]
    assert picture == (1, 3, TINY.native_size, TINY.native_size)


def test_canvases_of_the_same_shapes_count_once_and_an_unknown_graph_has_none() -> None:
    assert len(shapes_to_prepare(TINY, [Bucket(512, 256), Bucket(64, 64)])["text_encoder"]) == 1
    assert part_shapes("unet", (), Bucket(512, 256), 8) == ()


def test_a_text_is_as_long_as_the_text_encoder_reads() -> None:
    inputs = [{"name": name, "dtype": "int64", "shape": ["B", "T"]} for name in ("input_ids", "attention_mask")]
    found = part_shapes("text_encoder", inputs, Bucket(64, 64), 8, 32)
    assert dict(found) == {"input_ids": (1, 32), "attention_mask": (1, 32)}


def test_a_scalar_input_stays_one() -> None:
    inputs = [{"name": "timestep", "dtype": "int64", "shape": []}]
    assert part_shapes("unet", inputs, Bucket(64, 64), 8) == (("timestep", ()),)
