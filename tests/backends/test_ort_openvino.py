"""What is asked of OpenVINO's plug-in, what is read back from it, and what it keeps between starts."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import EngineOptions, ort_openvino
from outpaint_engine.engines.model_cache import KEPT_SHAPES, cache_folder
from outpaint_engine.engines.openvino import cpu_settings
from outpaint_engine.engines.openvino_plugin import provider_options
from outpaint_engine.engines.ort_openvino import OrtOpenVinoBackend, precision_of
from outpaint_engine.engines.session import check_assignment
from outpaint_engine.errors import BackendUnavailable, EngineSetError

SHAPES = (("sample", (2, 9, 8, 8)), ("timestep", ()))
PROVIDER = "OpenVINOExecutionProvider"


@pytest.fixture
def plugin() -> OrtOpenVinoBackend:
    """The backend, where the plug-in serves this processor."""
    backend = OrtOpenVinoBackend()
    if not backend.probe().usable:
        pytest.skip(f"ort-openvino: {backend.probe().reason}")
    return backend


def test_settings_and_shapes_become_the_options_of_the_plug_in() -> None:
    settings = cpu_settings("bf16", EngineOptions(threads=2))
    options = provider_options(settings, SHAPES)
    assert json.loads(options["load_config"]) == {"CPU": {**settings, "PERF_COUNT": "YES"}}
    assert options["reshape_input"] == "sample[2,9,8,8]"
    assert "reshape_input" not in provider_options(settings, None)


PROFILES = [
    ([("brgconv_avx512_amx_bf16", 90), ("jit_uni_f32", 10)], "bf16"),
    ([("brgconv_avx512_amx_bf16", 10), ("jit_gemm_f32", 50), ("brgemm_avx2_f32", 10)], "fp32"),
    ([("ref_i32", 10)], "unknown"),
    ([], "unknown"),
]


@pytest.mark.parametrize(("layers", "expected"), PROFILES)
def test_the_precision_is_what_the_layers_spent_their_time_in(layers: list[tuple[str, int]], expected: str) -> None:
    events = [{"dur": spent, "args": {"ov_exec_type": kind}} for kind, spent in layers]
    assert precision_of([{"name": "session", "dur": 500}, *events]) == expected


@dataclass
class Assigned:
    """A session that tells which provider took which nodes."""

    graphs: dict[str, list[str]] = field(default_factory=dict)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=name,
                get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=kind, name=f"node_{kind}") for kind in kinds],
            )
            for name, kinds in self.graphs.items()
        ]


def test_nodes_that_another_provider_would_run_are_named() -> None:
    session = Assigned({PROVIDER: ["Conv", "MatMul"], "CPUExecutionProvider": ["Attention"]})
    with pytest.raises(BackendUnavailable, match="leave 1 of 3 nodes to another provider .Attention node_Attention."):
        check_assignment(session, "unet on ort-openvino", [PROVIDER])
    check_assignment(Assigned({PROVIDER: ["Conv"]}), "unet on ort-openvino", [PROVIDER])


def test_arithmetic_on_shapes_may_stay_on_the_cpu_where_that_is_allowed() -> None:
    session = Assigned({"CUDAExecutionProvider": ["Conv"], "CPUExecutionProvider": ["Shape", "Gather"]})
    check_assignment(session, "unet on ort-cuda", ["CUDAExecutionProvider"], light_elsewhere=True)
    with pytest.raises(BackendUnavailable, match="2 of 3 nodes"):
        check_assignment(session, "unet on ort-cuda", ["CUDAExecutionProvider"])


@pytest.mark.parametrize(("intel", "wheels"), [(True, True), (False, True), (True, False)])
def test_a_missing_plug_in_is_worth_installing_on_intels_processors_only(
    monkeypatch: pytest.MonkeyPatch, intel: bool, wheels: bool
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort_openvino, "PLUGIN", "no_such_module")
    monkeypatch.setattr(ort_openvino, "is_intel", lambda: intel)
    monkeypatch.setattr(ort_openvino, "has_openvino_wheels", lambda: wheels)
    probe = OrtOpenVinoBackend().probe()
    assert not probe.usable and "onnxruntime-ep-openvino is not" in probe.reason
    assert probe.worth_installing is (intel and wheels)


def test_a_plug_in_that_offers_no_cpu_device_is_no_backend_and_nothing_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime_ep_openvino", reason="onnxruntime-ep-openvino is not installed")
    monkeypatch.setattr(ort_openvino, "cpu_device", lambda: None)
    probe = OrtOpenVinoBackend().probe()
    assert not probe.usable and "Intel" in probe.reason and not probe.worth_installing
    assert "outpaint_engine[openvino]" in probe.remedy


def kept(tiny: EngineSet, *compiled_for: str, side: int = 8) -> Path:
    folder = cache_folder(tiny, "unet", compiled_for, (("sample", (1, side)),))
    assert folder is not None
    return folder


def test_what_a_compiled_model_depends_on_tells_folders_apart(tiny: EngineSet, cache: Path) -> None:
    folders = {
        kept(tiny, "1.8", "bf16"),
        kept(tiny, "1.8", "fp32"),
        kept(tiny, "1.9", "bf16"),
        kept(tiny, "1.8", "bf16"),
    }
    assert len(folders) == 3
    assert all(folder.is_relative_to(cache / "outpaint_engine" / "openvino") for folder in folders)


def test_the_shapes_used_longest_ago_make_room_on_the_disk(tiny: EngineSet) -> None:
    for side in range(1, KEPT_SHAPES + 3):
        kept(tiny, "room", side=side).mkdir()
    assert len(list(kept(tiny, "room", side=99).parent.iterdir())) == KEPT_SHAPES - 1


@pytest.mark.parametrize("problem", ["in the way", "full"])
def test_a_cache_that_cannot_be_kept_is_said_and_done_without(
    monkeypatch: pytest.MonkeyPatch, tiny: EngineSet, tmp_path: Path, problem: str
) -> None:
    place = tmp_path / "cache"
    if problem == "in the way":
        place.write_text("a file")
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.warns(UserWarning, match="Compiled models cannot be kept in .*Each start compiles them anew"):
        assert cache_folder(tiny, "unet", ("1.8",), None) is None


def test_the_second_start_takes_what_the_first_compiled_and_answers_the_same(
    plugin: OrtOpenVinoBackend,
    tiny: EngineSet,
    feeds: Callable[..., dict[str, np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    answers = {}
    for precision in ("fp32", "bf16", "fp32", "bf16"):
        with plugin.load(tiny, "unet", EngineOptions(precision=precision)) as engine:
            found = engine.run(feeds(2, 16, 16))["out_sample"]
        np.testing.assert_array_equal(answers.setdefault(precision, found), found)
    assert len(list(tmp_path.rglob("compiled.onnx"))) == 2
    monkeypatch.setattr(ort_openvino, "compiled_session", None)
    with plugin.load(tiny, "unet", EngineOptions(precision="fp32")) as engine:
        assert engine.run(feeds(2, 16, 16))["out_sample"].any()


def test_a_damaged_cache_is_compiled_anew(
    plugin: OrtOpenVinoBackend, tiny: EngineSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plugin.load(tiny, "text_encoder", EngineOptions()).close()
    (graph,) = tmp_path.rglob("compiled.onnx")
    graph.write_bytes(b"")
    with plugin.load(tiny, "text_encoder", EngineOptions()) as engine:
        assert engine.run({"input_ids": np.zeros((1, 77), np.int64)})
    assert graph.stat().st_size > 0


def test_a_graph_that_is_not_taken_whole_is_refused_by_the_names_of_its_nodes(
    plugin: OrtOpenVinoBackend, tiny: EngineSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("outpaint_engine.engines.openvino_plugin.attention_spelled_out", lambda model: model)
    with pytest.raises((BackendUnavailable, EngineSetError), match="Attention"):
        plugin.load(tiny, "unet", EngineOptions())
