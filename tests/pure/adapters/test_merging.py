"""Weights with LoRAs added, as a set stores them; tags in prompts; which weights a graph's file holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine import EngineSet
from outpaint_engine.adapters import LayerChange, changeable, file_and_strength, merged
from outpaint_engine.engine_set.weights import StoredWeight, initializers_in, read_weight, stored_weights
from outpaint_engine.errors import AdapterError, RequestError
from outpaint_engine.prompts import lora_tags

TINY = EngineSet.open(Path(__file__).parents[2] / "goldens" / "tiny-9", verify=False)
STORED = stored_weights(TINY, "unet")
LINEAR, CONVOLUTION = "time_embedding.linear_1.weight", "conv_in.weight"
TURNED = next(name for name, place in STORED.items() if place.transposed)


def change(name: str, factor: float = 1.0) -> LayerChange:
    """Rank 1: ones, times `factor`."""
    shape = changeable(STORED)[name]
    one = (1, 1) if len(shape) == 4 else ()
    factors = {"down": np.ones((1, *shape[1:]), np.float32), "up": np.full((shape[0], 1, *one), factor, np.float32)}
    return LayerChange(Path("a.safetensors"), name, factors, 1.0, shape)


@pytest.mark.parametrize("name", [LINEAR, CONVOLUTION, TURNED])
def test_changes_are_added_in_torchs_form_and_given_in_the_stored_one(name: str) -> None:
    place, layers = STORED[name], {name: change(name)}
    found = merged(STORED, [(layers, 0.5), (layers, -2.0)])
    expected = read_weight(place) + np.float32(0.5) - np.float32(2)
    assert list(found) == [place.initializer] and found[place.initializer].shape == place.shape
    np.testing.assert_allclose(found[place.initializer], expected.T if place.transposed else expected, rtol=1e-6)


def test_a_sum_beyond_the_stored_type_is_refused() -> None:
    half = {CONVOLUTION: replace(STORED[CONVOLUTION], dtype="float16")}
    with pytest.raises(AdapterError, match=r"a.safetensors would bring 'conv_in.weight' beyond float16"):
        merged(half, [({CONVOLUTION: change(CONVOLUTION, 1e5)}, 1.0)])


def test_a_weight_that_is_stored_once_for_several_layers_is_refused() -> None:
    shared: dict[str, StoredWeight] = {LINEAR: STORED[LINEAR], "other.weight": STORED[LINEAR]}
    with pytest.raises(AdapterError, match="stores once for several layers. Fold the LoRA in at export"):
        merged(shared, [({LINEAR: change(LINEAR)}, 1.0)])


def test_embeddings_biases_and_norms_are_no_layers_of_a_lora() -> None:
    names = changeable(stored_weights(TINY, "text_encoder"))
    assert names and not any("embedding" in name or "norm" in name or name.endswith("bias") for name in names)


def test_a_graphs_file_says_which_weights_it_holds() -> None:
    names = {place.initializer for place in STORED.values()} | {"nothing", "x" * 300}
    whole = initializers_in(TINY.folder / "unet" / "model.onnx", names)
    shallow = initializers_in(TINY.folder / "unet" / "shallow.onnx", names)
    assert whole == names - {"nothing", "x" * 300}
    assert STORED["conv_out.weight"].initializer in shallow and len(shallow) < len(whole)


@pytest.mark.parametrize(
    ("prompt", "text", "loras"),
    [
        ("the sea", "the sea", {}),
        ("sea <lora:ink:0.8>, sun<lora:oil>", "sea , sun", {"ink": 0.8, "oil": 1.0}),
        ("<lora:a b-1.2:-.5>", "", {"a b-1.2": -0.5}),
        ("<lora:open", "<lora:open", {}),
        ("<lora::1> <lyco:x:1>", " <lyco:x:1>", {"": 1.0}),
    ],
)
def test_tags_are_taken_out_of_a_prompt(prompt: str, text: str, loras: dict[str, float]) -> None:
    assert lora_tags(prompt) == (text, loras)


def test_a_long_prompt_of_brackets_is_read_at_once() -> None:
    assert lora_tags("<lora:" * 2000).loras == {}


@pytest.mark.parametrize(
    ("given", "file", "strength"), [("a.x", "a.x", 1.0), ("a.x:-0.5", "a.x", -0.5), (r"C:\a.x", r"C:\a.x", 1.0)]
)
def test_the_terminals_strength_stands_behind_the_file(given: str, file: str, strength: float) -> None:
    assert file_and_strength(given) == (Path(file), strength)


@pytest.mark.parametrize("strength", ["nan", "inf", "101"])
def test_a_strength_out_of_range_is_refused(strength: str) -> None:
    with pytest.raises(RequestError, match=f"from -100 to 100, not '{strength}'"):
        file_and_strength(f"a.x:{strength}")
