"""What is asked of the CUDA and TensorRT providers, and what is said where there is no GPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import EngineOptions, cuda, ort_tensorrt
from outpaint_engine.engines.cuda import KEPT_SHAPES, CudaBackend, cuda_options
from outpaint_engine.engines.ort_tensorrt import FOLDER, OrtTensorRTBackend, tensorrt_options
from outpaint_engine.errors import BackendUnavailable

from .bound_on_cpu import BoundOnCpu

SHAPES = (("encoder_hidden_states", (2, 77, 768)), ("sample", (2, 9, 64, 64)), ("timestep", ()))
BOTH = [CudaBackend(), OrtTensorRTBackend()]


@pytest.mark.parametrize("backend", BOTH, ids=lambda backend: backend.name)
def test_without_a_gpu_the_reason_and_the_pip_line_are_given(
    monkeypatch: pytest.MonkeyPatch, tiny: EngineSet, backend: CudaBackend
) -> None:
    monkeypatch.setattr(cuda, "find_gpu", lambda: "")
    assert not backend.probe().worth_installing
    with pytest.raises(BackendUnavailable, match=r'no NVIDIA GPU was found.*pip install "outpaint_engine\[cuda\]"'):
        backend.load(tiny, "unet", EngineOptions())


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
    assert "tensorrt-cu13>=10.13,<11" in probe.remedy


def test_float32_is_float32_on_a_gpu_and_graphs_are_recorded_where_asked_for() -> None:
    assert cuda_options(EngineOptions()) == {"device_id": "0", "use_tf32": "0", "enable_cuda_graph": "0"}
    assert cuda_options(EngineOptions(cuda_graph=True))["enable_cuda_graph"] == "1"


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
    engine = BoundOnCpu("buffers", graph=graph).load(tiny, "unet", EngineOptions())
    sizes = [(8, 8 * width) for width in range(1, KEPT_SHAPES + 2)]
    first = [engine.run(feeds(1, *size))["out_sample"] for size in sizes]
    again = [engine.run(feeds(1, *size))["out_sample"] for size in sizes]
    for expected, found in zip(first, again, strict=True):
        np.testing.assert_array_equal(found, expected)
