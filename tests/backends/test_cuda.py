"""What is asked of the CUDA and TensorRT providers, and what is said where there is no GPU."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import EngineOptions, Loading, cuda, ort_tensorrt
from outpaint_engine.engines.cuda import (
    KEPT_SHAPES,
    CudaBackend,
    CudaEngine,
    check_assignment,
    cuda_options,
    gpu_session,
)
from outpaint_engine.engines.ort_tensorrt import FOLDER, OrtTensorRTBackend, tensorrt_options
from outpaint_engine.errors import BackendUnavailable, EngineSetError

from .bound_on_cpu import BoundOnCpu

SHAPES = (("encoder_hidden_states", (2, 77, 768)), ("sample", (2, 9, 64, 64)), ("timestep", ()))
BOTH = [CudaBackend, OrtTensorRTBackend]


@pytest.mark.parametrize("kind", BOTH)
def test_without_a_gpu_the_reason_and_the_pip_line_are_given(
    monkeypatch: pytest.MonkeyPatch, tiny: EngineSet, kind: type[CudaBackend]
) -> None:
    monkeypatch.setattr(cuda, "find_gpu", lambda: "")
    backend = kind()
    assert not backend.probe().worth_installing
    with pytest.raises(BackendUnavailable, match=r'no NVIDIA GPU was found.*pip install "outpaint_engine\[cuda\]"'):
        backend.load(Loading(tiny, "unet"))


def test_with_a_gpu_the_cpu_library_is_to_be_exchanged_and_that_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(cuda, "find_gpu", lambda: "NVIDIA H200")
    monkeypatch.setattr("outpaint_engine.engines.onnx._available_providers", lambda: ["CPUExecutionProvider"])
    probe = CudaBackend().probe()
    assert (probe.usable, probe.device, probe.worth_installing) == (False, "NVIDIA H200", True)
    assert "has no CUDAExecutionProvider" in probe.reason
    assert probe.remedy == 'pip uninstall -y onnxruntime && pip install "outpaint_engine[cuda]"'
    assert not OrtTensorRTBackend().probe().worth_installing


def test_a_tensorrt_that_does_not_load_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(cuda, "find_gpu", lambda: "NVIDIA H200")
    monkeypatch.setattr("outpaint_engine.engines.onnx._available_providers", lambda: [ort_tensorrt.PROVIDER])
    monkeypatch.setattr(ort_tensorrt, "LIBRARY", "libnvinfer.so.none")
    probe = OrtTensorRTBackend().probe()
    assert probe.reason == "TensorRT 10 (libnvinfer.so.none) does not load"
    assert "tensorrt-cu13>=10.14,<11" in probe.remedy


def test_float32_is_float32_on_a_gpu_and_graphs_are_recorded() -> None:
    options = {"device_id": "0", "use_tf32": "0", "fuse_conv_bias": "1"}
    assert cuda_options(True) == {**options, "enable_cuda_graph": "1"}
    assert cuda_options(False) == {**options, "enable_cuda_graph": "0"}


def test_each_shape_has_one_profile_and_its_own_engine_in_the_set(tmp_path: Path) -> None:
    options = tensorrt_options(tmp_path, "unet", SHAPES, EngineOptions(precision="fp16", cuda_graph=True))
    profile = "encoder_hidden_states:2x77x768,sample:2x9x64x64"
    assert {options[f"trt_profile_{bound}_shapes"] for bound in ("min", "opt", "max")} == {profile}
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_engine_cache_prefix"] == "unet_fp16_2x77x768_2x9x64x64_"
    assert (
        options["trt_fp16_enable"] == options["trt_layer_norm_fp32_fallback"] == options["trt_cuda_graph_enable"] == "1"
    )
    free = tensorrt_options(tmp_path, "unet", None, EngineOptions())
    assert free["trt_fp16_enable"] == "0" and not any(name.startswith("trt_profile") for name in free)


def test_auto_takes_tensorrt_only_where_its_engines_were_built(tiny: EngineSet) -> None:
    backend, folder = OrtTensorRTBackend(), tiny.folder / FOLDER
    assert not backend.suits(tiny, EngineOptions())
    folder.mkdir(parents=True)
    (folder / "unet_auto_2x9x64x64.engine").touch()
    assert backend.suits(tiny, EngineOptions())


@pytest.mark.parametrize("graph", [False, True])
def test_buffers_are_kept_for_a_few_shapes_and_serve_whatever_comes(
    tiny: EngineSet, feeds: Callable[..., dict[str, np.ndarray]], graph: bool
) -> None:
    pytest.importorskip("onnxruntime")
    engine = BoundOnCpu("buffers", graph=graph).load(Loading(tiny, "unet"))
    sizes = [(8, 8 * width) for width in range(1, KEPT_SHAPES + 2)]
    first = [engine.run(feeds(1, *size))["out_sample"] for size in sizes]
    again = [engine.run(feeds(1, *size))["out_sample"] for size in sizes]
    for expected, found in zip(first, again, strict=True):
        np.testing.assert_array_equal(found, expected)


@dataclass
class Assigned:
    """A session that tells which provider took which nodes."""

    graphs: dict[str, list[str]] = field(default_factory=dict)

    def get_providers(self) -> list[str]:
        return list(self.graphs)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=name,
                get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=kind, name=f"node_{kind}") for kind in kinds],
            )
            for name, kinds in self.graphs.items()
        ]


def test_arithmetic_on_shapes_may_stay_on_the_cpu_and_heavy_nodes_that_would_are_named() -> None:
    session = Assigned({cuda.PROVIDER: ["Conv"], "CPUExecutionProvider": ["Shape", "Gather"]})
    check_assignment(session, "unet on ort-cuda", [cuda.PROVIDER])
    session = Assigned({cuda.PROVIDER: ["Conv"], "CPUExecutionProvider": ["Shape", "Attention"]})
    with pytest.raises(BackendUnavailable, match="leave 1 of 3 nodes to another provider .Attention node_Attention."):
        check_assignment(session, "unet on ort-cuda", [cuda.PROVIDER])


def test_where_nothing_is_asked_for_a_graph_that_cannot_be_recorded_runs_without_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(path: Path, options: Any, providers: Any) -> Any:
        if providers == [("P", {"graph": True})]:
            raise EngineSetError("nodes are not partitioned")
        return Assigned({"P": ["Conv"]})

    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(cuda, "open_session", opened)

    def session_for(asked: bool | None) -> bool:
        options = EngineOptions(cuda_graph=asked)
        return gpu_session(Path("x"), "unet on ort-cuda", options, lambda graph: [("P", {"graph": graph})])[1]

    with pytest.warns(UserWarning, match="unet on ort-cuda runs without CUDA graphs: nodes are not partitioned"):
        assert not session_for(None)
    assert not session_for(False)
    with pytest.raises(EngineSetError, match="nodes are not partitioned"):
        session_for(True)


def test_every_run_is_on_the_engines_own_thread(tiny: EngineSet, feeds: Callable[..., dict[str, np.ndarray]]) -> None:
    pytest.importorskip("onnxruntime")
    seen: set[int] = set()

    class Watched(CudaEngine):
        def _run_bound(self, *given: Any, **more: Any) -> Any:
            seen.add(threading.get_ident())
            return super()._run_bound(*given, **more)

    engine = BoundOnCpu("buffers", graph=True, kind=Watched).load(Loading(tiny, "unet"))
    with engine, ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(lambda seed: engine.run(feeds(seed=seed)), range(6)))) == 6
    assert len(seen) == 1 and threading.get_ident() not in seen


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What `preload_dlls` is called with."""
    onnxruntime, calls = pytest.importorskip("onnxruntime"), []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **given: calls.append(given))
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", lambda severity: None)
    cuda.preload_libraries.cache_clear()
    yield calls
    cuda.preload_libraries.cache_clear()


def test_cudas_libraries_are_loaded_from_every_folder_that_pip_may_have_put_them_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, preloaded: list[dict[str, Any]]
) -> None:
    for folder in ("a/nvidia/cu13/lib", "b/nvidia/cudnn/lib"):
        (tmp_path / folder).mkdir(parents=True)
    roots = [str(tmp_path / name / "nvidia") for name in ("a", "b")]
    found = SimpleNamespace(submodule_search_locations=roots)
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: found)
    cuda.preload_libraries()
    assert preloaded == [
        {"cuda": True, "cudnn": False, "directory": f"{roots[0]}/cu13/lib"},
        {"cuda": False, "cudnn": True, "directory": f"{roots[1]}/cudnn/lib"},
    ]


def test_without_nvidias_packages_the_systems_libraries_are_loaded(
    monkeypatch: pytest.MonkeyPatch, preloaded: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    cuda.preload_libraries()
    assert preloaded == [{}]
