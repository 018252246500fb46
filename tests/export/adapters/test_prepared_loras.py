"""What LoRAs change most goes into what was prepared of a graph, so that a further one costs its weights only."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engine_set.weights import initializers_in, read_stored, stored_weights
from outpaint_engine.engines import EngineOptions, Loading, find_backend, onnx
from outpaint_engine.engines.prepared import prepared_folder
from outpaint_engine.tensors import Array

pytestmark = pytest.mark.export

PREPARE = EngineOptions(prepare=True)
FEEDS = {
    "sample": np.random.default_rng(0).standard_normal((2, 9, 8, 8), np.float32),
    "timestep": np.full(2, 500, np.float32),
    "encoder_hidden_states": np.random.default_rng(1).standard_normal((2, 77, 32), np.float32),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def answer(loading: Loading) -> Array:
    with find_backend("ort-cpu").load(loading) as engine:
        return engine.run(FEEDS)["out_sample"]


@pytest.mark.parametrize("graph", ["model", "shallow"])
def test_linear_layers_and_convolutions_beside_attention_keep_their_names(inpainting_set: Path, graph: str) -> None:
    engines = EngineSet.open(inpainting_set)
    loading = Loading(engines, "unet", PREPARE, graph=graph)
    find_backend("ort-cpu").load(loading).close()
    (folder,) = prepared_folder().iterdir()
    _, source = loading.artifact(find_backend("ort-cpu"))
    stored = stored_weights(engines, "unet")
    beside = [n for n, place in stored.items() if "attentions" in n and n.endswith("weight") and len(place.shape) > 1]
    asked = initializers_in(source, (stored[name].initializer for name in beside))
    assert any("proj_in" in name for name in asked) and len(asked) > 8
    assert initializers_in(folder / "model.onnx", asked) == asked


def test_a_pointwise_convolution_is_changed_in_a_prepared_graph_to_the_bit(
    inpainting_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = EngineSet.open(inpainting_set)
    places = [place for name, place in stored_weights(engines, "unet").items() if name.endswith("proj_out.weight")]
    changed = {place.initializer: 2 * read_stored(place) for place in places}
    whole = answer(Loading(engines, "unet", changed=changed))
    assert not np.allclose(answer(Loading(engines, "unet", PREPARE)), whole, atol=1e-3)
    opened: list[Path] = []
    open_session = onnx.open_session
    monkeypatch.setattr(onnx, "open_session", lambda path, *rest: opened.append(path) or open_session(path, *rest))
    np.testing.assert_array_equal(answer(Loading(engines, "unet", changed=changed)), whole)
    assert [path.parents[1] for path in opened] == [prepared_folder()]
