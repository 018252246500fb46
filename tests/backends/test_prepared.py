"""What `ort-cpu` makes of a graph is kept whole or not at all, used where it holds, and changes no bit."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.cache import DEAD_AFTER, DRAFT, make_room, written_whole
from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engine_set.weights import read_stored, stored_weights
from outpaint_engine.engines import EngineOptions, Loading, onnx, prepared
from outpaint_engine.engines.prepared import prepared_folder
from outpaint_engine.engines.table import find_backend
from outpaint_engine.errors import EngineSetError, OutputError

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")
PREPARE = EngineOptions(prepare=True)
Feeds = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answer(engine_set: EngineSet, feeds: dict[str, np.ndarray], options: EngineOptions = EngineOptions()) -> np.ndarray:  # noqa: B008
    with find_backend("ort-cpu").load(Loading(engine_set, "unet", options)) as engine:
        return engine.run(feeds)["out_sample"]


def kept() -> list[Path]:
    return sorted(prepared_folder().iterdir())


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the graphs that sessions are opened of."""
    opened: list[str] = []
    open_session = onnx.open_session

    def watched(path: Path, *given: object, **more: object) -> object:
        opened.append(path.parent.name)
        return open_session(path, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(onnx, "open_session", watched)
    return opened


def test_a_prepared_graph_is_used_from_then_on_and_gives_the_same_bits(
    tiny: EngineSet, feeds: Feeds, sources: list[str]
) -> None:
    plain = answer(tiny, feeds())
    np.testing.assert_array_equal(answer(tiny, feeds(), PREPARE), plain)
    np.testing.assert_array_equal(answer(tiny, feeds()), plain)
    (folder,) = kept()
    assert sources == ["unet", "unet", folder.name, folder.name]


@pytest.mark.parametrize(("weight", "taken"), [("attn1.to_q.weight", True), ("resnets.0.conv1.weight", False)])
def test_other_weights_go_into_a_prepared_graph_that_still_has_them_by_name(
    tiny: EngineSet, feeds: Feeds, sources: list[str], weight: str, taken: bool
) -> None:
    answer(tiny, feeds(), PREPARE)
    (folder,) = kept()
    named = {name: place for name, place in stored_weights(tiny, "unet").items() if name.endswith(weight)}
    found = {}
    for given in (PREPARE, EngineOptions()):
        if given != PREPARE:
            shutil.rmtree(folder)
        changed = {place.initializer: read_stored(place) * 2 for place in named.values()}
        sources.clear()
        with find_backend("ort-cpu").load(Loading(tiny, "unet", given, changed=changed)) as engine:
            for array in changed.values():
                array.fill(np.nan)
            found[given] = engine.run(feeds())["out_sample"]
        assert sources == [folder.name if taken and given == PREPARE else "unet"]
    np.testing.assert_array_equal(*found.values())
    assert not np.allclose(found[PREPARE], answer(tiny, feeds()), atol=1e-3)


def test_nothing_is_kept_where_it_is_not_asked_for(tiny: EngineSet, feeds: Feeds) -> None:
    answer(tiny, feeds())
    assert not prepared_folder().exists()


def test_a_source_with_other_hashes_another_library_or_processor_has_nothing_prepared(
    tiny: EngineSet, feeds: Feeds, sources: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(tiny, feeds(), PREPARE)
    other = tmp_path / "set"
    shutil.copytree(tiny.folder, other)
    manifest = other / "engine_set.json"
    artifact, source = Loading(tiny, "unet").artifact(find_backend("ort-cpu"))
    stated = artifact.files[artifact.file]
    manifest.write_text(manifest.read_text().replace(stated, "0" * 64))
    sources.clear()
    answer(EngineSet.open(other, verify=False), feeds())
    monkeypatch.setattr(prepared, "cpu_name", lambda: "another processor")
    answer(tiny, feeds())
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("onnxruntime.__version__", "9.0")
    assert prepared.find_prepared(Loading(tiny, "unet"), source) is None
    assert sources == ["unet", "unet"]


@pytest.mark.parametrize("damage", ["written to", "cut off"])
def test_what_was_damaged_is_said_deleted_and_done_without(tiny: EngineSet, feeds: Feeds, damage: str) -> None:
    plain = answer(tiny, feeds(), PREPARE)
    (folder,) = kept()
    graph = folder / "model.onnx"
    facts = graph.stat()
    content = bytearray(graph.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    graph.write_bytes(content)
    if damage == "cut off":
        # As if its size and time were what they were: the library finds out.
        os.utime(graph, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.warns(UserWarning, match="is not used and deleted"):
        np.testing.assert_array_equal(answer(tiny, feeds()), plain)
    assert kept() == []


def test_several_that_prepare_at_one_time_leave_one_whole(tiny: EngineSet, feeds: Feeds) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: answer(tiny, feeds(), PREPARE), range(3)))
    assert len(kept()) == 1
    for found in (*answers, answer(tiny, feeds())):
        np.testing.assert_array_equal(found, answers[0])


KILLED = """
import os, pathlib, signal, sys
pathlib.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engine_set.weights import read_stored, stored_weights
from outpaint_engine.engines import EngineOptions, Loading, find_backend
find_backend("ort-cpu").load(Loading(EngineSet.open(sys.argv[1]), "unet", EngineOptions(prepare=True)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_process_that_is_killed_while_it_prepares_leaves_nothing_that_is_used(tiny: EngineSet, feeds: Feeds) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tiny.folder)], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    (draft,) = kept()
    assert draft.name.startswith(DRAFT)
    plain = answer(tiny, feeds())
    np.testing.assert_array_equal(answer(tiny, feeds(), PREPARE), plain)
    os.utime(draft, (0, draft.stat().st_mtime - 2 * DEAD_AFTER))
    with written_whole(prepared_folder() / "another"):
        assert not draft.exists()


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(bytes(100))
        os.utime(tmp_path / name, (0, 1_000_000 - age))
    make_room(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old"}


def test_a_set_without_a_manifest_cannot_be_prepared(tiny: EngineSet, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(tiny.folder, folder)
    (folder / "engine_set.json").unlink()
    with pytest.raises(EngineSetError, match="has no engine_set.json.*outpaint-export adopt"):
        find_backend("ort-cpu").load(Loading(EngineSet.open(folder), "unet", PREPARE))


@pytest.mark.parametrize("problem", ["a file in the way", "a full disk"])
def test_a_cache_that_cannot_be_kept_is_an_error_with_a_way_out(
    tiny: EngineSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: str
) -> None:
    if problem == "a full disk":
        monkeypatch.setattr(prepared.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0}))
    else:
        (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="Too little space is free|XDG_CACHE_HOME names another place"):
        find_backend("ort-cpu").load(Loading(tiny, "unet", PREPARE))
