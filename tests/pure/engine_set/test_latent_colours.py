"""The colours of latents that a manifest says: previews are made of them, and wrong ones are refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineSet, EngineSetError, OutpaintPipeline
from outpaint_engine.engine_set import MANIFEST, demo_folder

from ...conftest import toy_pipeline

ROWS = ((0.0, 0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0, -1.0), (0.0, 0.0, 0.0, 0.0, 0.0))


def test_a_preview_shows_the_colours_of_the_manifest_or_what_the_decoder_makes() -> None:
    plain = toy_pipeline()
    engine_set = dataclasses.replace(plain.models.engine_set, latent_colours=ROWS)
    pipe = OutpaintPipeline(plain.models._replace(engine_set=engine_set))
    grey = np.full((64, 64, 3), 127, np.uint8)
    progress = next(iter(pipe.steps(image=grey, width=128, height=64, num_inference_steps=2, seed=1)))
    shown = np.asarray(progress.preview())
    assert shown.shape == (64, 128, 3)
    assert np.array_equal(np.unique(shown.reshape(-1, 3), axis=0), [[255, 0, 128]])
    decoded = np.asarray(progress.preview(decoded=True))
    assert np.array_equal(decoded, np.asarray(dataclasses.replace(progress, colours=()).preview()))
    assert not np.array_equal(decoded, shown)


@pytest.mark.parametrize("rows", [[[1, 2, 3]], [[0] * 5] * 4, [["red"] * 5] * 3], ids=str)
def test_rows_of_another_shape_are_refused(rows: list[list[object]], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(demo_folder(), folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"latent_colours": {"rows": rows}}))
    with pytest.raises(EngineSetError, match="lacks or misstates"):
        EngineSet.open(folder, verify=False)
