"""OpenVINO driven directly: when it is taken, what it is asked for, and what is read back of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import EngineOptions, Loading, openvino
from outpaint_engine.engines.openvino import (
    LEAST_WEIGHTS,
    OpenVinoBackend,
    chosen_precision,
    computed_in,
    cpu_settings,
)
from outpaint_engine.errors import BackendUnavailable


@pytest.fixture
def native() -> OpenVinoBackend:
    """The backend, where OpenVINO is installed."""
    backend = OpenVinoBackend()
    if not backend.probe().usable:
        pytest.skip(f"openvino: {backend.probe().reason}")
    return backend


SUITED = [
    ("auto", LEAST_WEIGHTS, True),
    ("bf16", LEAST_WEIGHTS, True),
    ("fp32", LEAST_WEIGHTS, False),
    ("auto", 1, False),
]


@pytest.mark.parametrize(("precision", "size", "expected"), SUITED)
def test_auto_takes_it_for_large_sets_in_bf16_only(
    monkeypatch: pytest.MonkeyPatch, tiny: EngineSet, precision: str, size: int, expected: bool
) -> None:
    monkeypatch.setattr(EngineSet, "size_of", lambda self, part: size)
    monkeypatch.setattr(openvino, "lacks_bf16", lambda: False)
    assert OpenVinoBackend().suits(tiny, EngineOptions(precision=precision)) is expected
    monkeypatch.setattr(openvino, "lacks_bf16", lambda: True)
    assert not OpenVinoBackend().suits(tiny, EngineOptions(precision=precision))


@pytest.mark.parametrize("bf16", [True, False])
def test_it_is_worth_installing_where_the_processor_computes_in_bf16(
    monkeypatch: pytest.MonkeyPatch, bf16: bool
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(openvino.importlib, "import_module", missing)
    monkeypatch.setattr(openvino, "has_bf16", lambda: bf16)
    probe = OpenVinoBackend().probe()
    assert (probe.usable, probe.worth_installing) == (False, bf16)
    assert probe.reason == "openvino is not installed" and "outpaint_engine[openvino]" in probe.remedy


def test_a_wheel_that_does_not_load_is_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino, "_core", broken)
    probe = OpenVinoBackend().probe()
    assert not probe.usable and "libtbb" in probe.reason and probe.remedy


CHOSEN = [("auto", ["FP32", "BF16"], "bf16"), ("auto", ["FP32"], "fp32"), ("fp32", ["FP32", "BF16"], "fp32")]


@pytest.mark.parametrize(("asked", "capabilities", "expected"), CHOSEN)
def test_auto_is_bf16_where_the_processor_has_it(asked: str, capabilities: list[str], expected: str) -> None:
    assert chosen_precision(EngineOptions(precision=asked), capabilities, "openvino") == expected


def test_bf16_is_refused_where_the_processor_has_no_instructions_for_it() -> None:
    with pytest.raises(BackendUnavailable, match="neither AMX nor AVX512-BF16"):
        chosen_precision(EngineOptions(precision="bf16"), ["FP32"], "openvino")


def test_threads_and_precision_become_settings_and_no_thread_is_pinned_to_a_core() -> None:
    settings = cpu_settings("bf16", EngineOptions(threads=3))
    assert (settings["INFERENCE_PRECISION_HINT"], settings["INFERENCE_NUM_THREADS"]) == ("bf16", "3")
    assert settings["ENABLE_CPU_PINNING"] == "NO"
    assert cpu_settings("fp32", EngineOptions())["INFERENCE_PRECISION_HINT"] == "f32"


LAYERS = [
    ([("Convolution", "bf16"), ("FullyConnected", "bf16"), ("Softmax", "f32")], "bf16"),
    ([("Convolution", "f32"), ("MatMul", "f32"), ("Convolution", "bf16")], "fp32"),
    ([("MatMul", "i8")], "unknown"),
    ([("Softmax", "f32")], "unknown"),
]


@pytest.mark.parametrize(("layers", "expected"), LAYERS)
def test_the_precision_is_that_of_the_layers_that_do_the_work(layers: list[tuple[str, str]], expected: str) -> None:
    def layer(kind: str, precision: str) -> Any:
        facts = {"layerType": SimpleNamespace(value=kind), "runtimePrecision": SimpleNamespace(value=precision)}
        return SimpleNamespace(get_rt_info=lambda: facts)

    graph = SimpleNamespace(get_ops=lambda: [layer(*each) for each in layers])
    assert computed_in(SimpleNamespace(get_runtime_model=lambda: graph)) == expected


def test_another_precision_than_asked_for_is_said(
    native: OpenVinoBackend, tiny: EngineSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "computed_in", lambda compiled: "bf16")
    with pytest.warns(UserWarning, match="unet on openvino was asked to compute in fp32 and computes in bf16"):
        native.load(Loading(tiny, "unet", EngineOptions(precision="fp32"))).close()


def test_a_set_without_a_manifest_runs(
    native: OpenVinoBackend, tiny: EngineSet, feeds: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(tiny.folder, folder)
    (folder / "engine_set.json").unlink()
    options = EngineOptions(precision="fp32")
    with (
        native.load(Loading(EngineSet.open(folder), "unet", options)) as found,
        native.load(Loading(tiny, "unet", options)) as expected,
    ):
        for engine in (found, expected):
            assert engine.outputs.keys() == {"out_sample", "deep_features"}
        answer = found.run(feeds())["out_sample"]
        np.testing.assert_allclose(answer, expected.run(feeds())["out_sample"], atol=1e-5)
