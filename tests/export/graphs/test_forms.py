"""The forms of a graph: each gives the same numbers as the one it was made of, and is left alone where it would not."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from outpaint_export.graphs.attention import in_blocks
from outpaint_export.graphs.group_normalization import in_two_passes
from outpaint_export.graphs.shallow import give_deep_features

pytestmark = pytest.mark.export

GROUPS, CHANNELS = 4, 8
SHAPE = ["rows", 2, "tokens", 16]


def normalisation(version: int = 21) -> ir.Model:
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal(CHANNELS, np.float32), name) for name in ("scale", "bias")]
    node = helper.make_node("GroupNormalization", ["x", "scale", "bias"], ["y"], num_groups=GROUPS, epsilon=1e-6)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", CHANNELS, "h", "w"]) for name in ("x", "y")
    ]
    graph = helper.make_graph([node], "normal", values[:1], values[1:], weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10))


def answer(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def test_group_normalisation_in_two_passes_is_exact_where_a_picture_is_flat() -> None:
    side = 256
    picture = np.broadcast_to(np.linspace(0.5, 1, CHANNELS, dtype=np.float32)[:, None, None], (2, CHANNELS, side, side))
    picture = np.ascontiguousarray(picture)
    noise = np.random.default_rng(1).standard_normal((2, CHANNELS, side, side // 2), np.float32)
    picture[..., : side // 2] += noise / 100
    model = normalisation()
    weights = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    groups = picture.astype(np.float64).reshape(2, GROUPS, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-6)
    expected = normal.reshape(picture.shape) * weights["scale"][:, None, None] + weights["bias"][:, None, None]
    before = np.abs(answer(model, {"x": picture}) - expected).max()
    assert in_two_passes(model) == 1
    after = np.abs(answer(model, {"x": picture}) - expected).max()
    assert "GroupNormalization" not in [node.op_type for node in model.graph]
    assert before > 1e-3 and after < 1e-5


def test_group_normalisation_of_an_older_operator_set_is_left_alone() -> None:
    assert in_two_passes(normalisation(version=18)) == 0


def attention(
    shape: list[int | str] = SHAPE, kind: int = TensorProto.FLOAT, mask: bool = False, **more: object
) -> ir.Model:
    names = ["q", "k", "v", *(["mask"] if mask else [])]
    values = [helper.make_tensor_value_info(name, kind, shape) for name in names[:3]]
    values += [helper.make_tensor_value_info("mask", TensorProto.BOOL, ["tokens", "tokens"])] * mask
    node = helper.make_node("Attention", names, ["y"], **more)
    graph = helper.make_graph([node], "attention", values, [helper.make_tensor_value_info("y", kind, shape)])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11))


@pytest.mark.parametrize("more", [{}, {"scale": 0.5}])
def test_attention_in_blocks_gives_the_same_numbers(more: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((3, 2, 5, 16), np.float32) for name in "qkv"}
    model = attention(**more)
    expected = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)[0]
    assert in_blocks(model) == 1
    np.testing.assert_allclose(answer(model, feeds), expected, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        attention(is_causal=1),
        attention(softcap=30.0),
        attention(mask=True),
        attention(kind=TensorProto.FLOAT16),
        attention(shape=["rows", "heads", "tokens", 16]),
        attention(shape=["rows", 2, "tokens", "width"]),
    ],
    ids=["causal", "a soft cap", "a mask", "float16", "an unknown number of heads", "heads of unknown width"],
)
def test_attention_that_the_operator_of_blocks_does_not_do_is_left_alone(model: ir.Model) -> None:
    assert in_blocks(model) == 0


@pytest.mark.parametrize("name", ["inpainting_set", "half_set"])
def test_the_shallow_graph_answers_on_deep_features_as_the_whole_one(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name) / "unet"
    rng = np.random.default_rng(0)
    feeds = {
        "sample": rng.standard_normal((2, 9, 17, 12), np.float32),
        "timestep": np.float32([3, 700]),
        "encoder_hidden_states": rng.standard_normal((2, 77, 32), np.float32),
    }
    for variant in ("", ".ort-cpu"):
        if not (folder / f"model{variant}.onnx").exists():
            continue
        whole, shallow = (
            onnxruntime.InferenceSession(folder / f"{graph}{variant}.onnx", providers=["CPUExecutionProvider"])
            for graph in ("model", "shallow")
        )
        expected, deep = whole.run(["out_sample", "deep_features"], feeds)
        assert deep.shape == (2, 16, 17, 12) and deep.dtype == np.float32
        found = shallow.run(None, {**feeds, "deep_features": deep})[0]
        np.testing.assert_array_equal(found, expected)
        assert np.abs(shallow.run(None, {**feeds, "deep_features": deep * 0})[0] - expected).max() > 1e-3


def test_a_unet_without_a_skip_connection_is_not_cut(inpainting_set: Path) -> None:
    assert not give_deep_features(ir.load(inpainting_set / "vae_encoder" / "model.onnx"))


def test_the_graphs_of_a_part_share_its_weights_and_are_valid(inpainting_set: Path) -> None:
    for path in inpainting_set.rglob("*.onnx"):
        assert path.stat().st_size < 200_000
        if path.name != "model.ort-cpu.onnx" and path.name != "shallow.ort-cpu.onnx":
            onnx.checker.check_model(path)
