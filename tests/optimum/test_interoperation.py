"""Engine sets across the border: Optimum's in our runtime, ours in Optimum's pipelines, each beside a reference.

Runs in an environment of its own: CONTRIBUTING.md has the command.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from optimum.onnxruntime import ORTStableDiffusionInpaintPipeline
from outpaint_export.layout import GRAPHS
from outpaint_export.parity.reference import outpaint, reference_pipeline, reference_scheduler

from outpaint_engine import EngineSet, OutpaintPipeline, OutpaintRequest
from outpaint_engine.tensors import Array

from ..export.tiny_models import sources

GOLDENS = Path(__file__).parents[1] / "goldens"
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
ENOUGH = 1e-3
"""Largest difference of final latents, relative to the largest value."""


CHANGES = pytest.mark.parametrize(
    "changes", [{}, {"strength": 0.75}, {"guidance_scale": 1.0}], ids=["plain", "strength", "free"]
)


def request(**changes: Any) -> OutpaintRequest:
    placed = {
        "image": PIXELS,
        "width": 128,
        "height": 64,
        "offset_x": 32,
        "prompt": "the sun",
        "negative_prompt": "sea",
    }
    return OutpaintRequest(**{**placed, "num_inference_steps": 4, "seed": 3, "detail": "off", **changes})


def ours(folder: Path, asked: OutpaintRequest) -> Array:
    with OutpaintPipeline.from_pretrained(folder, device="ort-cpu") as pipe:
        return pipe(asked).latents


def optimums(folder: Path, asked: OutpaintRequest, use_io_binding: bool = False) -> Array:
    pipeline = ORTStableDiffusionInpaintPipeline.from_pretrained(folder, export=False, use_io_binding=use_io_binding)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = reference_scheduler(asked.scheduler, EngineSet.open(folder, verify=False).scheduler)
    return outpaint(pipeline, asked)[0]


def difference(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module", params=[4, 9])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """diffusers' pipeline of a tiny checkpoint, and the folder that Optimum exported it to."""
    scratch = tmp_path_factory.mktemp("theirs")
    reference = reference_pipeline(sources(request.param, scratch / "words"))
    reference.save_pretrained(scratch / "checkpoint")
    exported = ORTStableDiffusionInpaintPipeline.from_pretrained(str(scratch / "checkpoint"), export=True)
    exported.save_pretrained(scratch / "exported")
    return reference, scratch / "exported"


@CHANGES
def test_a_set_that_optimum_exported_runs_as_it_is(theirs: tuple[Any, Path], changes: dict[str, Any]) -> None:
    reference, exported = theirs
    asked = request(**changes)
    assert difference(ours(exported, asked), outpaint(reference, asked)[0]) < ENOUGH


def test_optimums_set_names_its_channels_and_size(theirs: tuple[Any, Path]) -> None:
    opened = EngineSet.open(theirs[1])
    assert opened.unet_channels in (4, 9) and opened.native_size == 128 and not opened.digest


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The tiny sets with the names that `layout` gives to axes today, by their channels."""
    folders = {}
    for channels in (4, 9):
        folder = folders[channels] = tmp_path_factory.mktemp("ours") / f"tiny-{channels}"
        shutil.copytree(GOLDENS / folder.name, folder)
        for part, names in GRAPHS.items():
            path = folder / part / "model.onnx"
            model = onnx.load(path)
            for value in (*model.graph.input, *model.graph.output):
                for axis, name in {**names.inputs, **names.outputs}.get(value.name, {}).items():
                    value.type.tensor_type.shape.dim[axis].dim_param = name
            onnx.save(model, path)
    return folders


@pytest.mark.parametrize("channels", [4, 9])
@CHANGES
def test_our_set_runs_in_optimums_pipeline(channels: int, changes: dict[str, Any]) -> None:
    folder, asked = GOLDENS / f"tiny-{channels}", request(**changes)
    assert difference(optimums(folder, asked), ours(folder, asked)) < ENOUGH


def test_our_plain_set_runs_in_optimums_pipeline_with_io_binding(named: dict[int, Path]) -> None:
    assert difference(optimums(named[4], request(), use_io_binding=True), ours(GOLDENS / "tiny-4", request())) < ENOUGH


def test_with_io_binding_optimum_takes_a_nine_channel_unets_output_to_be_as_wide_as_its_input(
    named: dict[int, Path],
) -> None:
    # optimum-onnx 0.1.0, ORTUnet.forward; it binds on a GPU by default, and use_io_binding=False is the way out.
    with pytest.raises(RuntimeError, match="Got: 9 Expected: 4"):
        optimums(named[9], request(), use_io_binding=True)


@torch.no_grad()
def test_optimum_takes_the_last_hidden_state_of_a_graph_with_more_outputs() -> None:
    pipeline = ORTStableDiffusionInpaintPipeline.from_pretrained(GOLDENS / "tiny-9", export=False, use_io_binding=False)
    ids = torch.ones(1, 77, dtype=torch.int64)
    with OutpaintPipeline.from_pretrained(GOLDENS / "tiny-9", device="ort-cpu") as pipe:
        expected = pipe.models.text_encoder.encode(ids.numpy())
    assert difference(pipeline.text_encoder(ids)[0].numpy(), expected) < 1e-6
