"""Attention in either of its forms gives the same numbers, and is left alone where it does more than they do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import Loading
from outpaint_engine.engines.attention import attention_in_blocks, attention_spelled_out
from outpaint_engine.engines.protobuf import encode, fields
from outpaint_engine.engines.table import find_backend

GOLDENS = Path(__file__).parents[1] / "goldens"


def graph_of(part: str) -> bytes:
    return (GOLDENS / "tiny-9" / part / "model.onnx").read_bytes()


def operators(model: bytes) -> list[str]:
    graph = next(field.message for field in fields(model) if field.number == 7)
    nodes = (field.message for field in fields(graph) if field.number == 1)
    return [field.text for node in nodes for field in fields(node) if field.number == 4]


FORMS = [
    (attention_spelled_out, "text_encoder", 2e-6),
    (attention_spelled_out, "unet", 2e-6),
    (attention_spelled_out, "vae_decoder", 2e-6),
    (attention_in_blocks, "unet", 2e-6),
    # One head over all tokens: its sum is put together from blocks.
    (attention_in_blocks, "vae_decoder", 1e-5),
]


@pytest.mark.parametrize(("form", "part", "error"), FORMS)
def test_the_graph_gives_the_same_numbers_without_an_attention_node(
    form: Callable[[bytes], bytes], part: str, error: float
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = graph_of(part)
    rewritten = form(model)
    assert "Attention" in operators(model) and "Attention" not in operators(rewritten)
    before, after = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]) for each in (model, rewritten)
    )
    draw, given = np.random.default_rng(0), {}
    for entry in before.get_inputs():
        shape = [axis if isinstance(axis, int) else 2 if at == 0 else 6 for at, axis in enumerate(entry.shape)]
        whole = draw.integers(0, 90, shape)
        given[entry.name] = whole if "int64" in entry.type else draw.standard_normal(shape, np.float32)
    for expected, found in zip(before.run(None, given), after.run(None, given), strict=True):
        np.testing.assert_allclose(found, expected, atol=error)


def model_with(node: list[tuple[int, str | bytes]], element: int = 9, **queries: int) -> bytes:
    """A graph of one Attention node.

    Its value `mask` has the given element type, 9 for boolean; its value `q` has four axes, of which those given are
    stated (`heads`, `width`), and its element type `kind`, 1 for float32.
    """
    mask = encode(1, "mask") + encode(2, encode(1, encode(1, element)))
    axes = (encode(2, "rows"), stated("heads", queries), encode(2, "tokens"), stated("width", queries))
    shape = b"".join(encode(1, axis) for axis in axes)
    query = encode(1, "q") + encode(2, encode(1, encode(1, queries.get("kind", 1)) + encode(2, shape)))
    content = b"".join(encode(number, value) for number, value in [(4, "Attention"), *node])
    return encode(7, encode(1, content) + encode(13, mask) + encode(13, query))


def stated(axis: str, sizes: dict[str, int]) -> bytes:
    return encode(1, sizes[axis]) if axis in sizes else encode(2, axis)


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
    assert attention_in_blocks(model) is model


def test_a_boolean_mask_hides_what_it_says_and_a_scale_is_taken_as_stated() -> None:
    masked = [*QKV[:3], (1, "mask"), (2, "out"), (5, encode(1, "scale") + encode(2, 0.5))]
    found = operators(attention_spelled_out(model_with(masked)))
    expected = ["Transpose", "MatMul", "Constant", "CastLike", "Mul", "Constant", "CastLike", "Where", "Softmax"]
    assert found == [*expected, "MatMul"]
    floats = model_with(masked, element=1)
    assert attention_spelled_out(floats) is floats


def test_in_blocks_it_takes_heads_beside_each_other_and_a_scale_as_stated() -> None:
    model = attention_in_blocks(model_with([*QKV, (5, encode(1, "scale") + encode(2, 0.5))], heads=8, width=40))
    turned = ["Transpose", "Reshape"]
    assert operators(model) == ["Constant", "Constant", *turned * 3, "MultiHeadAttention", "Reshape", "Transpose"]
    assert encode(1, "scale") + encode(2, 0.5) in model and encode(1, "num_heads") + encode(3, 8) in model


def test_ort_cpu_runs_it_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    ran: list[str] = []

    def watched(model: bytes) -> bytes:
        rewritten = attention_in_blocks(model)
        ran.extend(operators(rewritten))
        return rewritten

    monkeypatch.setattr("outpaint_engine.engines.onnx.attention_in_blocks", watched)
    find_backend("ort-cpu").load(Loading(EngineSet.open(GOLDENS / "tiny-9"), "unet")).close()
    assert "MultiHeadAttention" in ran and "Attention" not in ran


LEFT = {
    "a mask": ([*QKV[:3], (1, "mask"), (2, "out")], {"heads": 8, "width": 40}),
    "an unknown number of heads": (QKV, {"width": 40}),
    "heads of unknown width": (QKV, {"heads": 8}),
    "float16": (QKV, {"heads": 8, "width": 40, "kind": 10}),
}


@pytest.mark.parametrize(("node", "queries"), LEFT.values(), ids=LEFT)
def test_what_the_operator_of_blocks_does_not_do_is_left_alone(
    node: list[tuple[int, str | bytes]], queries: dict[str, int]
) -> None:
    model = model_with(node, **queries)
    assert attention_in_blocks(model) is model


@pytest.mark.parametrize("damaged", [b"\x3a\xff", b"\x0b", graph_of("unet")[:-7]])
def test_bytes_that_are_no_model_are_a_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends after the message|wire type|cut off"):
        attention_spelled_out(damaged)
