"""Attention spelled out gives the same numbers, and is left alone where it does more than is spelled out."""

from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engines.attention import attention_spelled_out
from outpaint_engine.engines.protobuf import encode, fields

GOLDENS = Path(__file__).parents[1] / "goldens"


def graph_of(part: str) -> bytes:
    return (GOLDENS / "tiny-9" / part / "model.onnx").read_bytes()


def operators(model: bytes) -> list[str]:
    graph = next(field.message for field in fields(model) if field.number == 7)
    nodes = (field.message for field in fields(graph) if field.number == 1)
    return [field.text for node in nodes for field in fields(node) if field.number == 4]


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae_decoder"])
def test_the_graph_gives_the_same_numbers_without_an_attention_node(part: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = graph_of(part)
    spelled_out = attention_spelled_out(model)
    assert "Attention" in operators(model) and "Attention" not in operators(spelled_out)
    before, after = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]) for each in (model, spelled_out)
    )
    draw, given = np.random.default_rng(0), {}
    for entry in before.get_inputs():
        shape = [axis if isinstance(axis, int) else 2 if at == 0 else 6 for at, axis in enumerate(entry.shape)]
        whole = draw.integers(0, 90, shape)
        given[entry.name] = whole if "int64" in entry.type else draw.standard_normal(shape, np.float32)
    for expected, found in zip(before.run(None, given), after.run(None, given), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


def model_with(node: list[tuple[int, str | bytes]], element: int = 9) -> bytes:
    """A graph of one Attention node; its value `mask` has the given element type, 9 for boolean."""
    mask = encode(1, "mask") + encode(2, encode(1, encode(1, element)))
    content = b"".join(encode(number, value) for number, value in [(4, "Attention"), *node])
    return encode(7, encode(1, content) + encode(13, mask))


QKV = [(1, "q"), (1, "k"), (1, "v"), (2, "out")]
MORE = {
    "causal": [*QKV, (5, encode(1, "is_causal") + encode(3, 1))],
    "a soft cap": [*QKV, (5, encode(1, "softcap") + encode(2, 30.0))],
    "three axes": [*QKV, (5, encode(1, "q_num_heads") + encode(3, 8))],
    "a cache": [*QKV[:3], (1, ""), (1, "past_key"), (1, "past_value"), (2, "out")],
    "a second output": [*QKV, (2, "present_key")],
    "a mask that is added": [*QKV[:3], (1, "bias"), (2, "out")],
    "another domain": [*QKV, (7, "com.microsoft")],
}


@pytest.mark.parametrize("node", MORE.values(), ids=MORE)
def test_attention_that_does_more_is_left_alone(node: list[tuple[int, str | bytes]]) -> None:
    model = model_with(node)
    assert attention_spelled_out(model) is model


def test_a_boolean_mask_hides_what_it_says_and_a_scale_is_taken_as_stated() -> None:
    masked = [*QKV[:3], (1, "mask"), (2, "out"), (5, encode(1, "scale") + encode(2, 0.5))]
    found = operators(attention_spelled_out(model_with(masked)))
    expected = ["Transpose", "MatMul", "Constant", "CastLike", "Mul", "Constant", "CastLike", "Where", "Softmax"]
    assert found == [*expected, "MatMul"]
    floats = model_with(masked, element=1)
    assert attention_spelled_out(floats) is floats


@pytest.mark.parametrize("damaged", [b"\x3a\xff", b"\x0b", graph_of("unet")[:-7]])
def test_bytes_that_are_no_model_are_a_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends after the message|wire type|cut off"):
        attention_spelled_out(damaged)
