"""Files that were compared with their manifest are not hashed again before they change."""

import os
import shutil
from pathlib import Path

import pytest

from outpaint_engine import EngineSetError
from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engine_set.stamps import verify_changed

TINY = Path(__file__).parents[2] / "goldens" / "tiny-9"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSet:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return EngineSet.open(shutil.copytree(TINY, tmp_path / "set"), verify=False)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[EngineSet]:
    """The sets whose contents are compared."""
    seen: list[EngineSet] = []
    verify = EngineSet.verify
    monkeypatch.setattr(EngineSet, "verify", lambda self: (seen.append(self), verify(self)))
    return seen


def test_contents_are_compared_once(copy: EngineSet, compared: list[EngineSet]) -> None:
    for _ in range(3):
        verify_changed(copy)
    assert len(compared) == 1


def test_a_copy_elsewhere_is_compared_for_itself(copy: EngineSet, compared: list[EngineSet], tmp_path: Path) -> None:
    verify_changed(copy)
    verify_changed(EngineSet.open(shutil.copytree(TINY, tmp_path / "another"), verify=False))
    assert len(compared) == 2


@pytest.mark.parametrize("hidden", [False, True], ids=["written to", "written to, its time put back"])
def test_a_file_that_was_written_to_is_found(copy: EngineSet, hidden: bool) -> None:
    verify_changed(copy)
    file = copy.folder / "unet" / "model.onnx"
    facts, content = file.stat(), bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    if hidden:
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(EngineSetError, match=r"unet/model\.onnx is not the file that was exported"):
            verify_changed(copy)


@pytest.mark.parametrize("note", ["damaged", "in the way"])
def test_a_note_that_cannot_be_read_or_written_costs_a_comparison_and_no_more(
    copy: EngineSet, compared: list[EngineSet], tmp_path: Path, note: str
) -> None:
    if note == "damaged":
        verify_changed(copy)
        for path in (tmp_path / "cache").rglob("*.json"):
            path.write_text("{")
    else:
        (tmp_path / "cache").write_text("a file")
    before = len(compared)
    verify_changed(copy)
    assert len(compared) == before + 1
