"""Typed float16 graphs: what stays in float32, and how far the answers are from the float32 graphs'."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from outpaint_export.errors import ConversionError, ParityError
from outpaint_export.graphs.half_precision import to_half, write_half
from outpaint_export.tensorrt import check
from outpaint_export.tensorrt.check import compare_half

from outpaint_engine.engine_set import PARTS, EngineSet

pytestmark = pytest.mark.export

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


@pytest.fixture(scope="module")
def typed(inpainting_set: Path, plain_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The typed graphs of the 9-channel set (float32 weights) and of the 4-channel one (float16 weights)."""
    graphs = {}
    for name, folder in (("fp32", inpainting_set), ("fp16", plain_set)):
        graphs[name] = tmp_path_factory.mktemp(name)
        for part in PARTS:
            write_half(folder / part / "model.onnx", part, graphs[name] / f"{part}.onnx")
    return graphs


def nodes(file: Path) -> list[ir.Node]:
    return list(ir.load(file).graph)


def weight_name(node: ir.Node) -> str:
    return str(node.inputs[1].name) if node.inputs[1] is not None else ""


def described(values: Iterable[onnx.ValueInfoProto]) -> list[tuple[str, onnx.TypeProto]]:
    return [(value.name, value.type) for value in values]


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.parametrize("part", PARTS)
def test_a_typed_graph_is_valid_answers_alike_and_takes_and_gives_the_same_types(
    part: str, weights: str, typed: dict[str, Path], inpainting_set: Path, plain_set: Path
) -> None:
    source = EngineSet.open(inpainting_set if weights == "fp32" else plain_set)
    half = typed[weights] / f"{part}.onnx"
    model = onnx.load(half)
    onnx.checker.check_model(model, full_check=True)
    original = onnx.load(source.folder / part / "model.onnx").graph
    assert described(model.graph.input) == described(original.input)
    assert described(model.graph.output) == described(original.output)
    figures = compare_half(source.folder / part / "model.onnx", half, source.artifact(part), 8)
    assert 1e-6 < figures["max_rel_error"] < 5e-3


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
def test_weights_are_stored_in_the_type_they_are_used_in(weights: str, typed: dict[str, Path]) -> None:
    for part in PARTS:
        for node in nodes(typed[weights] / f"{part}.onnx"):
            if node.op_type == "Cast":
                assert node.inputs[0] is not None
                assert not node.inputs[0].is_initializer()


@pytest.mark.parametrize("part", PARTS)
def test_normalisations_stay_in_float32_and_attention_does_not(part: str, typed: dict[str, Path]) -> None:
    kinds = {
        (node.op_type, node.outputs[0].dtype)
        for node in nodes(typed["fp32"] / f"{part}.onnx")
        if "Normalization" in node.op_type or node.op_type in ("Attention", "ReduceMean", "ReduceSumSquare")
    }
    assert {dtype for op_type, dtype in kinds if op_type != "Attention"} == {FLOAT}
    assert ("Attention", HALF) in kinds
    assert ("Attention", FLOAT) not in kinds


def test_what_depends_on_the_timestep_alone_stays_in_float32(typed: dict[str, Path]) -> None:
    unet = nodes(typed["fp32"] / "unet.onnx")
    embedding = [node for node in unet if node.op_type in ("Sin", "Cos") or node.op_type == "Gemm"]
    assert len(embedding) > 4
    assert {node.outputs[0].dtype for node in embedding} == {FLOAT}
    assert {node.outputs[0].dtype for node in unet if node.op_type == "Conv"} == {HALF}


def test_the_vae_decoders_middle_stays_in_float32_and_its_blocks_before_and_after_do_not(
    typed: dict[str, Path],
) -> None:
    convolutions = [node for node in nodes(typed["fp32"] / "vae_decoder.onnx") if node.op_type == "Conv"]
    middle = [node.outputs[0].dtype for node in convolutions if "mid_block" in weight_name(node)]
    others = [node.outputs[0].dtype for node in convolutions if "mid_block" not in weight_name(node)]
    assert middle == [FLOAT] * 4
    assert set(others) == {HALF}


def test_in_true_float16_the_answers_are_finite(typed: dict[str, Path]) -> None:
    # ONNX Runtime computes float16 in float32 on the CPU; the reference implementation rounds at every operator.
    latents = (5.5 * np.random.default_rng(0).standard_normal((1, 4, 4, 4))).astype(np.float32)
    answer = ReferenceEvaluator(str(typed["fp32"] / "vae_decoder.onnx")).run(None, {"latent_sample": latents})[0]
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()


def test_a_weight_that_float16_cannot_hold_is_named(inpainting_set: Path, tmp_path: Path) -> None:
    model = ir.load(inpainting_set / "vae_encoder" / "model.onnx")
    weight = next(value for name, value in model.graph.initializers.items() if name.endswith("conv_in.weight"))
    assert weight.const_value is not None
    weight.const_value = ir.tensor(np.full(weight.const_value.shape.numpy(), 1e6, np.float32), name=weight.name)
    ir.save(model, tmp_path / "large.onnx")
    with pytest.raises(ConversionError, match=r"conv_in.weight holds values beyond 65504"):
        write_half(tmp_path / "large.onnx", "vae_encoder", tmp_path / "half.onnx")


def test_a_graph_that_is_too_far_off_is_refused(
    typed: dict[str, Path], inpainting_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "BOUND", 1e-9)
    source = EngineSet.open(inpainting_set)
    with pytest.raises(ParityError, match="float16 graph of the unet is off by .*1e-09 is allowed"):
        compare_half(inpainting_set / "unet" / "model.onnx", typed["fp32"] / "unet.onnx", source.artifact("unet"), 8)


def test_numbers_that_no_number_goes_into_keep_their_type() -> None:
    # A constant made from a shape has the type that its attribute says.
    value = ir.tensor(np.zeros(1, np.float32))
    x = ir.Value(name="x", type=ir.TensorType(FLOAT), shape=ir.Shape([2]))
    shape = ir.node("Shape", [x])
    zeros = ir.node("ConstantOfShape", [shape.outputs[0]], attributes={"value": value})
    total = ir.node("Add", [x, zeros.outputs[0]])
    for node, kind, size in ((shape, ir.DataType.INT64, 1), (zeros, FLOAT, 2), (total, FLOAT, 2)):
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(kind), ir.Shape([size])
    total.outputs[0].name = "y"
    graph = ir.Graph([x], [total.outputs[0]], nodes=[shape, zeros, total], opset_imports={"": 23}, name="g")
    model = ir.Model(graph, ir_version=10)
    to_half(model, "unet")
    assert (zeros.outputs[0].dtype, total.outputs[0].dtype, graph.outputs[0].dtype) == (FLOAT, HALF, FLOAT)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
