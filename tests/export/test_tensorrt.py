"""Plans are really built, by TensorRT-RTX without a GPU; running them needs one."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from outpaint_export.commands.cli import main
from outpaint_export.sources.synthetic import ARCHITECTURES
from outpaint_export.tensorrt import plans
from outpaint_export.tensorrt.profiles import Buckets, shape_profiles

from outpaint_engine import EngineSet, OutpaintPipeline
from outpaint_engine.engine_set import MANIFEST, PARITY, PARTS, digest_of
from outpaint_engine.engines import EngineOptions, Loading
from outpaint_engine.engines.table import find_backend
from outpaint_engine.engines.tensorrt import FLAVOURS, Flavour, TensorRTBackend

pytestmark = pytest.mark.export

RTX = "tensorrt-rtx"
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed (extra tensorrt-rtx)",
)
OPTIONS = ["--sizes", "64x64,128x96", "--batch", "1,2", "--target", "sm86,sm89"]


@pytest.fixture(scope="module")
def planned(synthetic_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic set with plans, compared with diffusers as far as its files say; not to be changed."""
    folder = Path(shutil.copytree(synthetic_set, tmp_path_factory.mktemp("planned") / "set"))
    (folder / PARITY).write_text(json.dumps({"engine_set": EngineSet.open(folder).digest, "kept": True}))
    assert main(["tensorrt", str(folder), *OPTIONS]) == 0
    return folder


@pytest.fixture
def copy(planned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned, tmp_path / "copy"))


@needs_rtx
def test_plans_of_all_parts_are_in_the_manifest_with_everything_that_they_depend_on(planned: Path) -> None:
    import tensorrt_rtx_bindings

    engine_set = EngineSet.open(planned)
    for part in PARTS:
        plan, source = engine_set.artifact(part, RTX), engine_set.artifact(part)
        assert plan.file == f"engines/{RTX}/{part}.plan"
        assert plan.files == {plan.file: digest_of(planned / plan.file)}
        assert (plan.inputs, plan.outputs, plan.precision) == (source.inputs, source.outputs, "fp16")
        assert plan.built_for["version"] == tensorrt_rtx_bindings.__version__
        assert plan.built_for["targets"] == ["sm86", "sm89"]
        assert plan.built_for["source"] == source.files
        assert plan.built_for["options"] == "--flavour rtx " + " ".join(OPTIONS)
        assert plan.parity["max_rel_error"] < 5e-3
    engine_set.verify(plans=True)


@needs_rtx
def test_a_set_in_float16_is_built_from_its_own_graphs(half_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(half_set, tmp_path / "set"))
    assert main(["tensorrt", str(folder), "--sizes", "64x64", "--batch", "1"]) == 0
    engine_set = EngineSet.open(folder)
    plan, source = engine_set.artifact("unet", RTX), engine_set.artifact("unet")
    assert {**plan.parity, "attention": None} == {**source.parity, "attention": None}
    assert plan.parity["attention"]["layers"] >= plan.parity["attention"]["required"] > 0


@needs_rtx
def test_every_attention_of_several_heads_is_fused_in_every_profile(planned: Path) -> None:
    engine_set = EngineSet.open(planned)
    operators = {"text_encoder": (2, 2), "unet": (8, 8), "vae_encoder": (1, 0), "vae_decoder": (1, 0)}
    for part, (number, required) in operators.items():
        plan = engine_set.artifact(part, RTX)
        attention, profiles = plan.parity["attention"], len(plan.built_for["profiles"])
        assert (attention["operators"], attention["required"]) == (number, required)
        assert attention["layers"] >= required * profiles


@needs_rtx
def test_nothing_but_plans_and_manifest_is_left_and_the_set_runs_as_before(planned: Path, synthetic_set: Path) -> None:
    before, after = ({str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()} for f in (synthetic_set, planned))
    assert after - before == {PARITY, *(f"engines/{RTX}/{part}.plan" for part in PARTS)}
    assert EngineSet.open(planned).parity["kept"], "whole runs were compared with the same graphs"
    with OutpaintPipeline.from_pretrained(planned, device="ort-cpu") as pipe:
        picture = np.full((64, 64, 3), 99, np.uint8)
        assert pipe(image=picture, width=128, height=64, num_inference_steps=1).images[0].size == (128, 64)


@needs_rtx
def test_building_again_replaces_plans_that_were_damaged(copy: Path) -> None:
    (copy / f"engines/{RTX}/unet.plan").write_bytes(b"damaged")
    assert main(["tensorrt", str(copy), "--sizes", "64x64", "--batch", "1"]) == 0
    engine_set = EngineSet.open(copy)
    engine_set.verify(plans=True)
    assert sum(artifact.format == RTX for artifact in engine_set.artifacts) == len(PARTS)
    assert engine_set.artifact("unet", RTX).built_for["targets"] == []


@needs_rtx
def test_stopping_leaves_the_set_as_it_was_and_ends_with_130(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plans, "build_plan", stop)
    before = {path: digest_of(path) for path in copy.rglob("*") if path.is_file()}
    assert main(["tensorrt", str(copy), *OPTIONS]) == 130
    assert {path: digest_of(path) for path in copy.rglob("*") if path.is_file()} == before


@needs_rtx
def test_a_target_that_the_library_does_not_know_is_refused_with_those_it_knows(
    synthetic_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorrt", str(synthetic_set), "--sizes", "64x64", "--batch", "1", "--target", "sm90"]) == 4
    assert "does not build for sm90; it has sm75" in capsys.readouterr().err
    assert not list(synthetic_set.glob(".plans-*"))


@needs_rtx
def test_an_attention_that_no_fused_kernel_fits_is_allowed_to_be_taken_apart(
    inpainting_set: Path, tmp_path: Path
) -> None:
    # Heads of 8: smaller than any kernel's.
    folder = Path(shutil.copytree(inpainting_set, tmp_path / "set"))
    assert main(["tensorrt", str(folder), "--sizes", "64x64", "--batch", "2"]) == 0
    attention = EngineSet.open(folder).artifact("unet", RTX).parity["attention"]
    assert (attention["operators"], attention["required"]) == (8, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--sizes", "512x500"], 2, "that 8 divides"),
        (["--sizes", "512"], 2, "is not WIDTHxHEIGHT"),
        (["--batch", "0"], 2, "not a whole number of rows"),
        (["--target", "ada"], 2, "not a compute capability"),
        (["--flavour", "full", "--target", "sm89"], 2, "--target is for `--flavour rtx`"),
    ],
)
def test_options_that_cannot_be_are_refused(
    arguments: list[str], code: int, message: str, synthetic_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorrt", str(synthetic_set), *arguments]) == code
    assert message in capsys.readouterr().err


def test_full_tensorrt_is_not_built_without_its_library_or_a_gpu(
    synthetic_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if TensorRTBackend(FLAVOURS[0]).probe().usable:
        pytest.skip("full TensorRT and a GPU are here")
    assert main(["tensorrt", str(synthetic_set), "--flavour", "full"]) == 3
    assert "tensorrt" in capsys.readouterr().err


def test_a_set_without_a_manifest_is_told_how_to_get_one(
    synthetic_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_library", lambda flavour: SimpleNamespace())
    folder = Path(shutil.copytree(synthetic_set, tmp_path / "set"))
    (folder / MANIFEST).unlink()
    assert main(["tensorrt", str(folder)]) == 4
    assert "outpaint-export adopt" in capsys.readouterr().err


def test_profiles_are_fixed_for_the_sizes_asked_for_and_one_covers_the_rest(synthetic_set: Path) -> None:
    unet = EngineSet.open(synthetic_set).artifact("unet")
    width = ARCHITECTURES["tiny"].unet["cross_attention_dim"]
    profiles = shape_profiles(unet, 8, Buckets(((512, 512), (768, 512)), (1, 2)))
    fixed: list[Any] = [profile["sample"] for profile in profiles[:-1]]
    assert fixed == [((rows, 9, 64, size),) * 3 for size in (64, 96) for rows in (1, 2)]
    assert profiles[-1]["sample"] == ((1, 9, 8, 8), (2, 9, 64, 64), (2, 9, 96, 96))
    assert profiles[-1]["encoder_hidden_states"] == ((1, 77, width), (2, 77, width), (2, 2464, width))
    assert profiles[-1]["timestep"] == ((1,), (2,), (2,))


def test_a_part_that_sees_no_canvas_has_one_profile_for_each_number_of_rows(synthetic_set: Path) -> None:
    text_encoder = EngineSet.open(synthetic_set).artifact("text_encoder")
    profiles = shape_profiles(text_encoder, 8, Buckets(((512, 512), (768, 512)), (1, 2)))
    assert [profile["input_ids"][2] for profile in profiles] == [(1, 77), (2, 77), (2, 77)]


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_plans_answer_what_the_graphs_answer(
    flavour: Flavour, cuda_graph: bool, synthetic_set: Path, tmp_path: Path
) -> None:
    backend = TensorRTBackend(flavour)
    if not (probe := backend.probe()).usable:
        pytest.skip(probe.reason)
    folder = Path(shutil.copytree(synthetic_set, tmp_path / "set"))
    assert (
        main(["tensorrt", str(folder), "--flavour", flavour.option, "--sizes", "64x64,128x96", "--batch", "1,2"]) == 0
    )
    engine_set, rng = EngineSet.open(folder), np.random.default_rng(0)
    reference = find_backend("ort-cpu")
    options = EngineOptions(cuda_graph=cuda_graph)
    with (
        reference.load(Loading(engine_set, "unet")) as ours,
        backend.load(Loading(engine_set, "unet", options)) as plan,
    ):
        for rows, height, width in ((2, 8, 8), (1, 12, 16), (2, 10, 9), (2, 8, 8), (2, 8, 8), (4, 8, 8)):
            feeds = {
                "sample": rng.standard_normal((rows, 9, height, width)).astype(np.float32),
                "timestep": np.full(rows, 500, np.float32),
                "encoder_hidden_states": rng.standard_normal((rows, 77, 32)).astype(np.float32),
            }
            expected, answer = (engine.run(feeds)["out_sample"] for engine in (ours, plan))
            assert np.abs(answer - expected).max() <= 2e-2 * np.abs(expected).max()
