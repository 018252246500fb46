"""The TensorRT backends without a GPU: what is refused and how, and the engine's calls on a library of a few lines."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outpaint_engine import BackendUnavailable, EngineError, EngineSet, EngineSetError
from outpaint_engine.engine_set import MANIFEST, digest_of
from outpaint_engine.engines import Engine, EngineOptions, Loading
from outpaint_engine.engines.cuda_runtime import RecordedWork
from outpaint_engine.engines.tensorrt import FLAVOURS, Flavour, TensorRTBackend
from outpaint_engine.engines.tensorrt_engine import Profile, choose_profile

from .fake_gpu import VERSION, FakeCuda, FakeLibrary, FakeRtxLibrary, Status

TINY = Path(__file__).parents[1] / "goldens" / "tiny-9"
PLAN = "engines/tensorrt-rtx/unet.plan"
PROFILES: list[Profile] = [
    {"sample": ((2, 8), (2, 8), (2, 8))},
    {"sample": ((1, 8), (1, 8), (1, 8))},
    {"sample": ((1, 4), (2, 8), (2, 16))},
]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A GPU and a TensorRT that this machine need not have."""
    fake = FakeCuda()
    modules = {"cuda": SimpleNamespace(), "cuda.bindings": SimpleNamespace(runtime=fake)}
    for name, module in {**modules, "fake_tensorrt": FakeLibrary(fake)}.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    return fake


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """A set whose UNet has a plan for the fake library."""
    folder = Path(shutil.copytree(TINY, tmp_path / "set"))
    (folder / PLAN).parent.mkdir(parents=True)
    (folder / PLAN).write_text(json.dumps(PROFILES))
    enter_plan(folder, version=VERSION, targets=["sm86", "sm89"], options="--flavour rtx --sizes 64x64")
    return folder


def enter_plan(folder: Path, **built_for: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    source = next(item for item in manifest["artifacts"] if item["part"] == "unet" and item["format"] == "onnx")
    described = {"dtype": "float32", "shape": ["batch_size", "width"]}
    plan = {
        **source,
        "format": "tensorrt-rtx",
        "file": PLAN,
        "files": {PLAN: digest_of(folder / PLAN)},
        "inputs": [{**described, "name": "sample"}],
        "outputs": [{**described, "name": "out_sample"}],
        "built_for": {"source": source["files"], **built_for},
    }
    others = [item for item in manifest["artifacts"] if item["format"] == "onnx"]
    (folder / MANIFEST).write_text(json.dumps({**manifest, "artifacts": [*others, plan]}))


def backend() -> TensorRTBackend:
    """One that has not been looked for yet."""
    return TensorRTBackend(Flavour("tensorrt-rtx", "fake_tensorrt", "rtx", portable=True))


def loaded(folder: Path, **options: Any) -> Engine:
    return backend().load(Loading(EngineSet.open(folder, verify=False), "unet", EngineOptions(**options)))


@pytest.mark.parametrize(
    ("shape", "profile"),
    [((2, 8), 0), ((1, 8), 1), ((2, 16), 2), ((1, 4), 2), ((2, 9), 2), ((3, 8), None), ((2, 17), None), ((2,), None)],
)
def test_a_profile_made_for_the_shape_is_preferred_to_one_that_it_fits_into(
    shape: tuple[int, ...], profile: int | None
) -> None:
    assert choose_profile(PROFILES, {"sample": shape}) == profile


def test_a_missing_library_is_named_with_the_pip_line() -> None:
    probe = TensorRTBackend(Flavour("tensorrt-rtx", "no_such_library", "rtx", portable=True)).probe()
    assert not probe.usable
    assert probe.reason == "no_such_library is not installed"
    assert probe.remedy == 'pip install "outpaint_engine[tensorrt-rtx]"'


def test_without_a_gpu_the_reason_is_cudas(cuda: FakeCuda) -> None:
    cuda.gpus = 0
    probe = backend().probe()
    assert (probe.usable, probe.version) == (False, f"tensorrt-rtx {VERSION}")
    assert probe.reason == "no NVIDIA GPU can be used: CUDA driver version is insufficient"


def test_a_broken_cuda_is_a_reason_and_not_a_crash(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("libcudart.so.13 cannot be opened")

    monkeypatch.setattr(cuda, "cudaGetDeviceCount", broken)
    assert "libcudart.so.13 cannot be opened" in backend().probe().reason


def test_a_probe_names_the_gpu(cuda: FakeCuda) -> None:
    assert backend().probe().device == "cuda (Fake GPU, sm89)"


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_both_libraries_are_probed_without_raising(flavour: Flavour) -> None:
    probe = TensorRTBackend(flavour).probe()
    assert probe.usable or (probe.reason and probe.remedy)


def test_a_machine_without_a_gpu_loads_nothing(cuda: FakeCuda, planned: Path) -> None:
    cuda.gpus = 0
    with pytest.raises(BackendUnavailable, match="tensorrt-rtx cannot be used: no NVIDIA GPU.*driver"):
        loaded(planned)


def test_a_precision_that_plans_do_not_have_is_refused(cuda: FakeCuda, planned: Path) -> None:
    with pytest.raises(BackendUnavailable, match="runs in fp16, not in fp32"):
        loaded(planned, precision="fp32")


def test_a_set_without_plans_names_the_command_that_builds_them(cuda: FakeCuda) -> None:
    with pytest.raises(
        EngineSetError, match="no tensorrt-rtx engine for unet.*outpaint-export tensorrt .*--flavour rtx"
    ):
        loaded(TINY)


@pytest.mark.parametrize(
    ("built_for", "message"),
    [
        ({"version": "1.6.0"}, f"was built with tensorrt-rtx 1.6.0, and {VERSION} is installed"),
        ({"targets": ["sm86"]}, r"was built for sm86, and this GPU is sm89.*with `--target sm89`"),
        ({"source": {"unet/model.onnx": "0" * 64}}, "was built from other ONNX files than this set has now"),
    ],
)
def test_a_plan_of_another_origin_names_the_command_that_builds_it_again(
    cuda: FakeCuda, planned: Path, built_for: dict[str, Any], message: str
) -> None:
    enter_plan(planned, **{"version": VERSION, "options": "--flavour rtx --sizes 64x64", **built_for})
    with pytest.raises(EngineSetError, match=rf"unet.plan {message}") as refusal:
        loaded(planned)
    assert f"`outpaint-export tensorrt {planned} --flavour rtx --sizes 64x64`" in str(refusal.value)


def test_a_plan_for_no_target_in_particular_is_left_to_the_library(cuda: FakeCuda, planned: Path) -> None:
    enter_plan(planned, version=VERSION, targets=[])
    loaded(planned).close()


def test_a_plan_with_one_flipped_byte_is_not_given_to_the_library(cuda: FakeCuda, planned: Path) -> None:
    content = bytearray((planned / PLAN).read_bytes())
    content[-2] ^= 1
    (planned / PLAN).write_bytes(content)
    with pytest.raises(EngineSetError, match="unet.plan is not the plan that was built here.*native code"):
        loaded(planned)
    assert sys.modules["fake_tensorrt"].deserialised == 0


def test_a_plan_that_the_library_refuses_gives_the_librarys_reason(cuda: FakeCuda, planned: Path) -> None:
    (planned / PLAN).write_text("not a plan")
    enter_plan(planned, version=VERSION)
    with pytest.raises(EngineSetError, match="cannot be loaded by tensorrt-rtx 1.7.1: Magic tag does not match. Build"):
        loaded(planned)


def test_a_set_opens_without_its_plans_and_says_so_when_they_are_asked_for(cuda: FakeCuda, planned: Path) -> None:
    (planned / PLAN).unlink()
    engine_set = EngineSet.open(planned)
    with pytest.raises(EngineSetError, match="unet.plan is missing.*outpaint-export tensorrt"):
        backend().load(Loading(engine_set, "unet"))


def test_verifying_compares_plans_too(planned: Path) -> None:
    (planned / PLAN).write_text("[]")
    engine_set = EngineSet.open(planned)
    with pytest.raises(EngineSetError, match="unet.plan is not the file.*build its plans again"):
        engine_set.verify(plans=True)


@pytest.mark.parametrize("shape", [(2, 8), (1, 8), (2, 12), (1, 5)])
def test_the_caller_owns_the_answer(cuda: FakeCuda, planned: Path, shape: tuple[int, int]) -> None:
    given = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    with loaded(planned) as engine:
        first = engine.run({"sample": given})["out_sample"]
        engine.run({"sample": given + 1})
    assert np.array_equal(first, 2 * given)
    assert (engine.device, engine.precision) == ("cuda", EngineSet.open(TINY).artifact("unet").precision)


def test_shapes_may_change_from_call_to_call(cuda: FakeCuda, planned: Path) -> None:
    with loaded(planned) as engine:
        for shape in ((1, 4), (2, 16), (2, 8), (1, 4)):
            given = np.full(shape, 3, np.float32)
            assert np.array_equal(engine.run({"sample": given})["out_sample"], 2 * given)


def test_what_is_not_contiguous_is_copied_as_it_reads(cuda: FakeCuda, planned: Path) -> None:
    given = np.arange(16, dtype=np.float32).reshape(8, 2).T
    with loaded(planned) as engine:
        assert np.array_equal(engine.run({"sample": given})["out_sample"], 2 * given)


def test_more_rows_than_the_plan_takes_are_run_in_pieces(cuda: FakeCuda, planned: Path) -> None:
    given = np.arange(5 * 8, dtype=np.float32).reshape(5, 8)
    with loaded(planned) as engine:
        assert np.array_equal(engine.run({"sample": given})["out_sample"], 2 * given)
    assert cuda.copied.count("in") == 3


def test_outputs_that_nobody_wants_are_not_copied(cuda: FakeCuda, planned: Path) -> None:
    with loaded(planned) as engine:
        assert engine.run({"sample": np.zeros((1, 8), np.float32)}, ()) == {}
    assert "out" not in cuda.copied


def test_recorded_work_is_replayed_and_forgotten_when_shapes_change(cuda: FakeCuda, planned: Path) -> None:
    with loaded(planned, cuda_graph=True) as engine:
        for call, width in enumerate((8, 8, 8, 9, 9, 8)):
            given = np.full((1, width), call, np.float32)
            assert np.array_equal(engine.run({"sample": given})["out_sample"], 2 * given)
    assert cuda.launched == 3


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"sample": np.zeros((1, 99), np.float32)}, r"was built for sample \[1, 4\] to \[2, 16\]; it was given .*99"),
        ({"sample": np.zeros((1, 8), np.float16)}, "takes sample as float32"),
        ({"other": np.zeros((1, 8), np.float32)}, "takes sample; it was given other"),
    ],
)
def test_what_the_plan_does_not_take_is_an_error_that_says_what_it_does(
    cuda: FakeCuda, planned: Path, feeds: dict[str, np.ndarray], message: str
) -> None:
    with loaded(planned) as engine, pytest.raises(EngineError, match=message):
        engine.run(feeds)


def test_closing_gives_all_memory_back_and_ends_the_engine(cuda: FakeCuda, planned: Path) -> None:
    engine = loaded(planned)
    engine.run({"sample": np.zeros((1, 8), np.float32)})
    engine.close()
    engine.close()
    assert cuda.memory == {}
    with pytest.raises(EngineError, match="was closed"):
        engine.run({"sample": np.zeros((1, 8), np.float32)})


def test_a_cuda_call_that_fails_says_what_cuda_says(
    cuda: FakeCuda, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = loaded(planned)
    monkeypatch.setattr(cuda, "cudaMalloc", lambda size: (35, None))
    with pytest.raises(EngineError, match="CUDA failed: CUDA driver version is insufficient"):
        engine.run({"sample": np.zeros((1, 8), np.float32)})


def test_what_fails_while_work_is_recorded_is_what_is_said(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise EngineError("no kernel for this layer")

    monkeypatch.setattr(cuda, "cudaStreamEndCapture", lambda stream: (Status.CAPTURE_INVALIDATED, None))
    work = RecordedWork(cuda, 7)
    work.run(lambda: None)
    with pytest.raises(EngineError, match="no kernel for this layer"):
        work.run(failing)


@pytest.mark.parametrize(("asked", "recorded"), [(None, "whole"), (False, "")])
def test_tensorrt_rtx_records_by_itself_specialises_at_once_and_keeps_its_kernels_apart_from_the_set(
    cuda: FakeCuda, planned: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: bool | None, recorded: str
) -> None:
    library = FakeRtxLibrary(cuda)
    monkeypatch.setitem(sys.modules, "fake_tensorrt", library)  # type: ignore[arg-type]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    enter_plan(planned, version=VERSION)
    before = sorted(planned.rglob("*"))
    for start in (1, 2):
        loaded(planned, cuda_graph=asked).close()
        assert library.settings.kernels == b"K" * start
        assert library.settings.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert getattr(library.settings, "cuda_graph_strategy", "") == recorded
    (kept,) = (tmp_path / "cache" / "outpaint_engine" / "tensorrt-rtx").iterdir()
    assert kept.read_bytes() == b"KK"
    assert sorted(planned.rglob("*")) == before
