"""Which backend is chosen, what "auto" says of those it passed over, and what is said where none works."""

import warnings
from pathlib import Path

import pytest

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import (
    BACKENDS,
    Backend,
    Engine,
    EngineOptions,
    FunctionEngine,
    Loading,
    Probe,
    load_engines,
    onnx,
    table,
)
from outpaint_engine.engines.onnx import OnnxBackend
from outpaint_engine.engines.table import find_backend
from outpaint_engine.errors import BackendUnavailable, EngineSetError, OutpaintError, RequestError

TINY = EngineSet.open(Path(__file__).parents[1] / "goldens" / "tiny-9")


class Stub(Backend):
    """A backend whose answers are given."""

    device, format = "cpu", "onnx"

    def __init__(self, name: str, probe: Probe, failure: OutpaintError | None = None) -> None:
        self.name, self._probe, self._failure = name, probe, failure
        self.precisions = ("auto", "fp32")

    def _look(self) -> Probe:
        return self._probe

    def _open(self, loading: Loading) -> Engine:
        if self._failure:
            raise self._failure
        engine = FunctionEngine(dict, {}, {})
        engine.backend = self.name
        return engine


WORKS = Probe(True)
MISSING = Probe(False, reason="it is not installed", remedy="pip install fast")
WORTH_IT = Probe(False, reason="it is not installed", remedy="pip install fast", worth_installing=True)


def chosen(monkeypatch: pytest.MonkeyPatch, *backends: Backend, device: str = "auto", precision: str = "auto") -> str:
    monkeypatch.setattr(table, "BACKENDS", backends)
    return load_engines(TINY, device, EngineOptions(precision=precision), {})["unet"].backend


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_a_backend_works_here_or_says_why_not_and_what_to_do(backend: Backend) -> None:
    probe = backend.probe()
    if not probe.usable:
        assert probe.reason and probe.remedy
        pytest.skip(f"the contract does not run on {backend.name}: {probe.reason}")
    assert probe.version


def test_auto_takes_the_first_that_works_and_says_nothing_of_what_would_not_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(monkeypatch, Stub("fast", MISSING), Stub("slow", WORKS), Stub("slower", WORKS)) == "slow"


def test_auto_says_what_to_install_for_a_faster_backend_that_this_machine_could_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.warns(UserWarning, match="fast would be faster on this machine.*pip install fast.*Running on slow"):
        assert chosen(monkeypatch, Stub("fast", WORTH_IT), Stub("slow", WORKS)) == "slow"


def test_auto_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            chosen(monkeypatch, Stub("fast", WORTH_IT), Stub("slow", WORKS))
    assert len(seen) == 1


@pytest.mark.parametrize("failure", [BackendUnavailable("no such layer"), EngineSetError("no such layer")])
def test_auto_passes_over_a_backend_that_does_not_take_the_set_and_says_why(
    monkeypatch: pytest.MonkeyPatch, failure: OutpaintError
) -> None:
    with pytest.warns(UserWarning, match="fast was passed over: no such layer"):
        assert chosen(monkeypatch, Stub("fast", WORKS, failure), Stub("slow", WORKS)) == "slow"


def test_a_backend_that_was_asked_for_never_gives_way_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (Stub("fast", MISSING), Stub("fast", WORKS, BackendUnavailable("it is not installed"))):
        with pytest.raises(BackendUnavailable, match="it is not installed"):
            chosen(monkeypatch, fast, Stub("slow", WORKS), device="fast")


def test_where_none_works_each_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="fast: it is not installed; try pip install fast"):
        chosen(monkeypatch, Stub("fast", MISSING))


def test_auto_takes_no_backend_that_cannot_compute_in_the_precision_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="No backend can run this engine set in bf16"):
        chosen(monkeypatch, Stub("slow", WORKS), precision="bf16")


def test_short_names_stand_for_one_backend_each() -> None:
    assert [find_backend(name).name for name in ("cpu", "cuda")] == ["ort-cpu", "ort-cuda"]
    with pytest.raises(BackendUnavailable, match="no backend 'npu'; it has auto, cpu, cuda, "):
        find_backend("npu")


@pytest.mark.parametrize(("field", "value"), [("precision", "fp8"), ("threads", 0)])
def test_options_that_no_backend_could_follow_are_refused(field: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"{field} must be"):
        EngineOptions(**{field: value})  # type: ignore[arg-type]


def test_several_distributions_of_onnxruntime_are_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx, "_flavours_in", lambda folder: ["onnxruntime", "onnxruntime-gpu"])
    probe = OnnxBackend("ort-cpu", "cpu", "CPUExecutionProvider", "cpu", ("auto",)).probe()
    assert probe.reason == "onnxruntime and onnxruntime-gpu overwrite each other's files"
    assert probe.remedy.startswith("pip uninstall -y onnxruntime onnxruntime-gpu && pip install")


def test_distributions_in_different_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for folder, name in (("a", "onnxruntime"), ("a", "onnxruntime_ep_webgpu"), ("b", "onnxruntime_gpu")):
        metadata = tmp_path / folder / f"{name}-1.31.0.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.31.0\n")
    assert onnx._flavours_in(tmp_path / "a") == ["onnxruntime"]
    assert onnx._flavours_in(tmp_path / "b") == ["onnxruntime-gpu"]


def test_a_backend_is_looked_for_once_a_process() -> None:
    class Counted(Stub):
        looks = 0

        def _look(self) -> Probe:
            self.looks += 1
            return WORKS

    backend = Counted("slow", WORKS)
    for part in ("unet", "vae_encoder"):
        assert backend.probe().usable and backend.load(Loading(TINY, part)).backend == "slow"
    assert backend.looks == 1
