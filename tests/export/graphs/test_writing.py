"""What becomes of the output folder when an export succeeds, fails, is stopped, or meets something there."""

import errno
from pathlib import Path

import numpy as np
import pytest
from outpaint_export import exporting
from outpaint_export.commands.cli import main
from outpaint_export.errors import DestinationError, ParityError
from outpaint_export.exporting import export_parts
from outpaint_export.graphs.modules import TextEncoderGraph
from outpaint_export.parity import graphs as parity
from outpaint_export.parity.recording import record
from outpaint_export.staging import staged

from .. import tiny_models

pytestmark = pytest.mark.export


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_part_over_its_bound_fails_with_the_figures_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(parity.BOUNDS, "fp32", 1e-12)
    with pytest.raises(ParityError, match=r"text_encoder is off by .* relative .*; 1e-12 is allowed in fp32"):
        export_parts(tiny_models.sources(4, tmp_path / "tokenizer"), tmp_path / "out")
    assert contents(tmp_path) == ["tokenizer"]


def test_an_answer_that_is_not_a_number_is_over_every_bound(inpainting_set: Path) -> None:
    graph = TextEncoderGraph(tiny_models.text_encoder()).eval()
    broken = [parity.Reference(case.feeds, case.answer * np.nan) for case in record(graph)]
    with pytest.raises(ParityError, match="text_encoder is off by nan"):
        parity.compare("text_encoder", inpainting_set / "text_encoder" / "model.onnx", broken, "fp16-weights")


def test_stopping_leaves_nothing_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "convert", stop)
    assert main(["onnx", str(checkpoint), str(tmp_path / "out")]) == 130
    assert contents(tmp_path) == []


def test_a_full_disk_leaves_the_old_set_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model_index.json").write_text("{}")
    with pytest.raises(OSError, match="No space"), staged(out, overwrite=True) as folder:
        (folder / "half").write_text("written")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert contents(tmp_path) == ["out"]
    assert contents(out) == ["model_index.json"]


def test_overwriting_replaces_the_whole_set(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model_index.json").write_text("{}")
    (out / "stale.onnx").write_text("old")
    with staged(out, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert contents(tmp_path) == ["out"]
    assert contents(out) == ["new"]


def test_an_empty_folder_may_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged(tmp_path / "out", overwrite=False) as folder:
        (folder / "new").write_text("new")
    assert contents(tmp_path / "out") == ["new"]


@pytest.mark.parametrize(
    ("there", "overwrite", "message"),
    [
        ("out/engine_set.json", False, "is not empty.*--overwrite"),
        ("out/holiday.jpg", True, "not an engine set, so it is not replaced"),
        ("out", False, "is not a folder"),
        (None, False, "does not exist"),
    ],
)
def test_a_taken_output_is_refused(there: str | None, overwrite: bool, message: str, tmp_path: Path) -> None:
    out = tmp_path / "out" if there else tmp_path / "missing" / "out"
    if there:
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).write_text("kept")
    with pytest.raises(DestinationError, match=message), staged(out, overwrite):
        pytest.fail("nothing may be written")
    assert there is None or (tmp_path / there).read_text() == "kept"
