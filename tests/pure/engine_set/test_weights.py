"""Reading one weight of a set by its torch name: what it is, and maps that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outpaint_engine import EngineSet, EngineSetError
from outpaint_engine.engine_set.weights import read_weight, stored_weights

LINEAR = np.arange(6, dtype=np.float16).reshape(2, 3)
ROW = {"initializer": "val_1", "transposed": True, "dtype": "float16", "shape": [2, 3], "offset": 64}


def opened(folder: Path, change: Callable[[dict[str, Any]], None] = lambda row: None) -> EngineSet:
    """A set of whose UNet there is only one weight, and whose map says what `change` makes of it."""
    row = dict(ROW)
    change(row)
    (folder / "unet").mkdir()
    (folder / "unet" / "model.onnx_data").write_bytes(bytes(64) + LINEAR.tobytes())
    content = {"file": "model.onnx_data", "weights": {"mid.to_q.weight": row}}
    (folder / "unet" / "weights.json").write_text(json.dumps(content))
    facts = {"source": {}, "unet_channels": 4, "latent_scale": 1.0, "latent_factor": 8, "native_size": 64}
    return EngineSet(
        folder=folder, prediction_type="epsilon", scheduler={}, artifacts=(), files={"unet/weights.json": ""}, **facts
    )


def test_a_weight_that_is_stored_turned_is_read_as_torch_has_it(tmp_path: Path) -> None:
    stored = stored_weights(opened(tmp_path), "unet")["mid.to_q.weight"]
    assert (stored.initializer, stored.length) == ("val_1", 12)
    np.testing.assert_array_equal(read_weight(stored), LINEAR.T)
    assert read_weight(stored).dtype == np.float16


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(offset=66),
        lambda row: row.update(offset=-1),
        lambda row: row.update(shape=[2, -3]),
        lambda row: row.update(dtype="object"),
        lambda row: row.pop("shape"),
        lambda row: row.update(shape=None),
    ],
    ids=["past the end", "before the file", "a negative shape", "objects", "no shape", "shape of nothing"],
)
def test_a_map_that_does_not_fit_the_file_is_refused(change: Callable[[dict], None], tmp_path: Path) -> None:
    with pytest.raises(EngineSetError, match="lacks or misstates"):
        stored_weights(opened(tmp_path, change), "unet")


def test_a_set_without_a_map_says_how_to_get_one() -> None:
    old = EngineSet.open(Path(__file__).parents[2] / "goldens" / "tiny-4")
    with pytest.raises(EngineSetError, match="outpaint-export adopt"):
        stored_weights(old, "unet")
