"""The form for ONNX Runtime's CUDA provider: which operators it has, and that they compute what the graph before did.

Its operators have kernels on a GPU only; here they are written out after their documentation
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md) and run by ONNX's reference evaluator.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from outpaint_export.graphs.cuda import computes_in_half, for_cuda
from torch.nn import functional

from outpaint_engine.engine_set import PARTS, EngineSet

pytestmark = pytest.mark.export

HALF = np.float16
ROUNDING = 2e-3
"""Of float16, relative to the norm of an answer; 1.4e-3 for the UNet and 2.0e-3 for the VAE decoder were seen."""


class GroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(
        self,
        x: Any,
        scale: Any,
        bias: Any,
        activation: int = 0,
        channels_last: int = 1,
        epsilon: float = 0,
        groups: int = 1,
    ) -> tuple[Any]:
        assert channels_last
        first = torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float32)
        normal = functional.group_norm(first, groups, torch.tensor(scale), torch.tensor(bias), epsilon)
        answer = functional.silu(normal) if activation else normal
        return (answer.numpy().transpose(0, 2, 3, 1).astype(x.dtype),)


class NhwcConv(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Any, weight: Any, bias: Any = None, **how: Any) -> tuple[Any]:
        first, kernels = (torch.tensor(each.transpose(0, 3, 1, 2), dtype=torch.float32) for each in (x, weight))
        assert list(how["kernel_shape"]) == list(kernels.shape[2:])
        top, left, bottom, right = how.get("pads") or (0, 0, 0, 0)
        padded = functional.pad(first, (left, right, top, bottom))
        added = None if bias is None else torch.tensor(bias, dtype=torch.float32)
        answer = functional.conv2d(padded, kernels, added, tuple(how.get("strides") or (1, 1)))
        return (answer.numpy().transpose(0, 2, 3, 1).astype(x.dtype),)


class BiasSplitGelu(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x: Any, bias: Any) -> tuple[Any]:
        first, gate = torch.tensor(x + bias, dtype=torch.float32).chunk(2, dim=-1)
        return ((first * functional.gelu(gate)).numpy().astype(x.dtype),)


class MultiHeadAttention(OpRun):
    op_domain = "com.microsoft"

    def _run(self, query: Any, key: Any, value: Any, num_heads: int = 1, scale: float | None = None) -> tuple[Any]:
        apart = [
            torch.tensor(each, dtype=torch.float32).unflatten(-1, (num_heads, -1)).transpose(1, 2)
            for each in (query, key, value)
        ]
        answer = functional.scaled_dot_product_attention(*apart, scale=scale)
        return (answer.transpose(1, 2).flatten(2).numpy().astype(query.dtype),)


KERNELS: list[Any] = [GroupNorm, NhwcConv, BiasSplitGelu, MultiHeadAttention]


def feeds(part: str) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    normal = lambda *shape: draw.standard_normal(shape, np.float32)  # noqa: E731
    return {
        "text_encoder": {"input_ids": draw.integers(0, 50, (2, 77))},
        "unet": {
            "sample": normal(2, 9, 8, 8),
            "timestep": np.float32([3, 700]),
            "encoder_hidden_states": normal(2, 77, 32),
        },
        "vae_encoder": {"sample": normal(1, 3, 32, 32)},
        "vae_decoder": {"latent_sample": normal(1, 4, 4, 4)},
    }[part]


def answers(path: Path, part: str, kernels: list[Any]) -> list[np.ndarray]:
    model = onnx.load(path)
    found = ReferenceEvaluator(model, new_ops=kernels).run(None, feeds(part))
    return [np.asarray(each, np.float64) for each in found]


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_in_float16_has_a_graph_for_cuda_that_computes_the_same(
    half_set: Path, inpainting_set: Path, part: str
) -> None:
    """Beside float32: the reference evaluator's own sums in float16 are further off than a kernel's."""
    engines = EngineSet.open(half_set)
    made = engines.artifact(part, backend="ort-cuda")
    assert made.backends == ("ort-cuda",) and made.file == f"{part}/model.ort-cuda.onnx"
    found = answers(half_set / made.file, part, KERNELS)
    in_float32 = answers(inpainting_set / part / "model.onnx", part, [])
    for ours, exact in zip(found, in_float32, strict=True):
        assert off(ours, exact) < ROUNDING


def test_the_shallow_graph_for_cuda_computes_the_same(half_set: Path, inpainting_set: Path) -> None:
    fed = {**feeds("unet"), "deep_features": np.random.default_rng(1).standard_normal((2, 16, 8, 8), np.float32)}
    ours, exact = (
        ReferenceEvaluator(onnx.load(folder / "unet" / name), new_ops=KERNELS).run(None, fed)[0].astype(np.float64)
        for folder, name in ((half_set, "shallow.ort-cuda.onnx"), (inpainting_set, "shallow.onnx"))
    )
    assert off(ours, exact) < ROUNDING


def test_every_node_that_has_one_kernel_on_cuda_is_one_node(half_set: Path) -> None:
    unet = half_set / "unet"
    before, after = (
        Counter(node.op_type for node in ir.load(unet / name).graph) for name in ("model.onnx", "model.ort-cuda.onnx")
    )
    assert after["NhwcConv"] == before["Conv"] and after["Conv"] == 0
    assert after["MultiHeadAttention"] == before["Attention"] and after["Attention"] == 0
    # Spelled out, each takes the root of a variance.
    assert after["GroupNorm"] == before["Sqrt"] > 0 and after["Sqrt"] == after["GroupNormalization"] == 0
    # The tiny model's gates are narrower than the kernel is compiled for.
    assert after["Gelu"] == before["Gelu"] and after["BiasSplitGelu"] == 0
    assert after["LayerNormalization"] == before["LayerNormalization"] > 0


def gate(width: int) -> ir.Model:
    """The gate of a feed-forward layer on (rows, 3, width), as the export writes it."""
    bias = numpy_helper.from_array(np.random.default_rng(2).standard_normal(width).astype(HALF), "bias")
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["sum"]),
        helper.make_node("Split", ["sum"], ["first", "second"], axis=-1, num_outputs=2),
        helper.make_node("Gelu", ["second"], ["gelu"]),
        helper.make_node("Mul", ["first", "gelu"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["rows", 3, size])
        for name, size in (("x", width), ("y", width // 2))
    ]
    graph = helper.make_graph(nodes, "gate", values[:1], values[1:], [bias])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11))


def test_a_gate_of_a_width_that_the_kernel_has_is_one_node() -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 2560)).astype(HALF)
    model = gate(2560)
    expected = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0]
    assert for_cuda(model)["BiasSplitGelu"] == 1
    found = ReferenceEvaluator(ir.to_proto(model), new_ops=KERNELS).run(None, {"x": x})[0]
    assert off(found.astype(np.float64), expected.astype(np.float64)) < ROUNDING


def test_a_gate_of_another_width_stays_as_it_is() -> None:
    assert for_cuda(gate(128))["BiasSplitGelu"] == 0


def test_graphs_in_float32_have_no_form_for_cuda(inpainting_set: Path) -> None:
    assert not computes_in_half(ir.load(inpainting_set / "unet" / "model.onnx"))
    assert EngineSet.open(inpainting_set).artifact("unet", backend="ort-cuda").variant == ""


def test_turned_weights_are_written_once_for_both_graphs(half_set: Path) -> None:
    unet = half_set / "unet"
    turned = [
        {
            name: (value.const_value.location, value.const_value.offset)
            for name, value in ir.load(unet / f"{graph}.ort-cuda.onnx").graph.initializers.items()
            if isinstance(value.const_value, ir.ExternalTensor) and name.endswith("/last")
        }
        for graph in ("model", "shallow")
    ]
    whole, shallow = turned
    assert shallow and shallow.items() <= whole.items()
    assert {location for location, _ in whole.values()} == {"model.ort-cuda.onnx_data"}
