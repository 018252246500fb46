"""`outpaint batch` on a toy model: as single runs, each picture for itself, and no file lost or painted twice."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from outpaint_engine import OutpaintPipeline, RequestError
from outpaint_engine.batch import folder_jobs, lines_jobs
from outpaint_engine.cli import cli

from ..conftest import toy_pipeline

COMMON = ("--steps", "2", "--seed", "3", "--mask-expand", "4")
Invoke = Callable[..., Result]
IN_A_PROCESS = """
import sys, time
from types import SimpleNamespace
from outpaint_engine.cli import main
from tests.conftest import toy_pipeline, toy_unet
def slow(**feeds):
    time.sleep(0.02)
    return toy_unet(**feeds)
loaded = SimpleNamespace(from_pretrained=lambda *_, **__: toy_pipeline(unet=slow))
sys.modules["outpaint_engine.cli.batch"].OutpaintPipeline = loaded
main()
"""


@pytest.fixture
def photos(tmp_path: Path, picture: np.ndarray) -> Path:
    """A folder with three pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(picture, 7 * number, axis=1)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The command line on a toy model; loading it is counted in `invoke.loads`."""
    loads: list[OutpaintPipeline] = []

    def load(*_: Any, **__: Any) -> OutpaintPipeline:
        loads.append(toy_pipeline())
        return loads[-1]

    for module in ("batch", "outpaint"):
        loaded = sys.modules[f"outpaint_engine.cli.{module}"]
        monkeypatch.setattr(loaded, "OutpaintPipeline", SimpleNamespace(from_pretrained=load))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(each) for each in arguments])

    call.loads = loads  # type: ignore[attr-defined]
    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_equal_single_runs_with_their_own_prompts_and_masks_and_aspects(invoke: Invoke, photos: Path) -> None:
    out, single, masks = photos.parent / "out", photos.parent / "single", photos.parent / "masks"
    single.mkdir()
    masks.mkdir()
    (photos / "1.txt").write_text("night sea\n", encoding="utf-8")
    for number in range(3):
        Image.fromarray(np.eye(48, 64, dtype=bool)).save(masks / f"{number}.bmp")
    done = invoke(
        "batch", photos, out, "--aspects", "1:1,2:1", "--anchor", "left", "--masks", masks, "-p", "day", *COMMON
    )
    assert done.exit_code == 0 and "6 painted, 0 there already, 0 failed." in done.stderr
    for number in range(3):
        for aspect in ("1:1", "2:1"):
            place = ("--aspect", aspect, "--anchor", "left", "--mask", masks / f"{number}.bmp")
            target = single / f"{number}-{aspect.replace(':', 'x')}.png"
            words = ("-p", "night sea" if number == 1 else "day")
            assert invoke("run", photos / f"{number}.png", target, *place, *words, *COMMON).exit_code == 0
    assert contents(out) == contents(single)


def test_lines_say_what_the_command_line_does_not(invoke: Invoke, photos: Path) -> None:
    lines = photos / "jobs.jsonl"
    jobs = [{"image": "0.png", "left": 16, "prompt": "sea"}, {"image": "1.png", "out": "b.jpg"}]
    lines.write_text("\n".join(map(json.dumps, jobs)), encoding="utf-8")
    out, single = photos.parent / "out", photos.parent / "single"
    single.mkdir()
    assert invoke("batch", lines, out, "--aspect", "1:1", *COMMON).exit_code == 0
    invoke("run", photos / "0.png", single / "0.png", "--left", "16", "-p", "sea", *COMMON)
    invoke("run", photos / "1.png", single / "b.jpg", "--aspect", "1:1", *COMMON)
    assert contents(out) == contents(single)


def test_a_broken_picture_fails_alone_and_the_model_is_loaded_once(invoke: Invoke, photos: Path) -> None:
    (photos / "1.png").write_bytes(b"no picture")
    out = photos.parent / "out"
    done = invoke("batch", photos, out, "--right", "16", "--json", *COMMON)
    assert done.exit_code == 1 and sorted(contents(out)) == ["0.png", "2.png"]
    assert "1.png is not a picture in a format that can be read" in done.stderr
    assert "2 painted, 0 there already, 1 failed." in done.stderr
    assert list(json.loads(done.stdout)["failed"]) == [str(out / "1.png")]
    assert len(invoke.loads) == 1  # type: ignore[attr-defined]


def test_what_is_there_is_not_painted_again(invoke: Invoke, photos: Path) -> None:
    out = photos.parent / "out"
    asked = ("batch", photos, out, "--right", "16", "--num-images", "2", *COMMON)
    assert invoke(*asked).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "1-2.png").unlink()
    done = invoke(*asked)
    assert "1 painted, 2 there already, 0 failed." in done.stderr
    after = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert {path.name for path in before if before[path] != after[path]} == {"1-1.png", "1-2.png"}
    assert "0 painted, 3 there already" in invoke(*asked).stderr
    assert len(invoke.loads) == 2  # type: ignore[attr-defined]


def test_a_killed_batch_goes_on_where_it_was(invoke: Invoke, photos: Path) -> None:
    out, whole = photos.parent / "out", photos.parent / "whole"
    asked = ("--right", "16", "--num-images", "2", *COMMON)
    command = [sys.executable, "-c", IN_A_PROCESS, "batch", str(photos), str(out), *asked]
    for files in (1, 3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("*.png"))) < files:
            time.sleep(0.005)
        process.kill()
        process.wait()
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    complete = [name for name in times if {f"{name[0]}-1.png", f"{name[0]}-2.png"} <= times.keys()]
    assert invoke("batch", photos, out, *asked).exit_code == 0
    assert invoke("batch", photos, whole, *asked).exit_code == 0
    assert {name: each for name, each in contents(out).items() if name[0] != "."} == contents(whole)
    assert complete and all((out / name).stat().st_mtime_ns == times[name] for name in complete)


def test_two_batches_do_not_write_to_one_folder(invoke: Invoke, photos: Path) -> None:
    import fcntl
    import os

    handle = os.open(photos, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    lines = photos.parent / "jobs.jsonl"
    lines.write_text('{"image": "photos/0.png"}', encoding="utf-8")
    refused = invoke("batch", lines, photos, "--left", "16").exception
    os.close(handle)
    assert "Another run writes to" in str(refused)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 1 of .* is not JSON"),
        ("[]", 'write an object with the path of an "image"'),
        ('{"image": "a.png", "out": "../a.png"}', "out must be a file name that ends in"),
        ('{"image": "a.png", "out": "a"}', "out must be a file name that ends in"),
        ('{"image": "a.png"}\n{"image": "b/A.png"}', "would both become a.png"),
        ("", "has no line"),
    ],
)
def test_lines_that_are_no_jobs_are_refused_before_any_work(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "jobs.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        lines_jobs(tmp_path / "jobs.jsonl", tmp_path)


def test_pictures_whose_results_would_have_one_name_are_refused(photos: Path) -> None:
    (photos / "0.jpg").touch()
    with pytest.raises(RequestError, match=r"0.jpg and .*0.png would both become 0.png"):
        folder_jobs(photos, photos.parent)


def test_a_picture_without_a_mask_or_placement_fails_alone(invoke: Invoke, photos: Path) -> None:
    (photos.parent / "masks").mkdir()
    done = invoke("batch", photos, photos.parent / "out", "--masks", photos.parent / "masks", *COMMON)
    assert done.exit_code == 1 and "has 0 masks named 0, and one is needed" in done.stderr
    assert invoke("batch", photos, photos.parent / "out", *COMMON).exit_code == 2
    both = invoke("batch", photos, photos.parent / "out", "--aspect", "1:1", "--aspects", "1:1", *COMMON)
    assert both.exit_code == 2 and "not both" in both.stderr


def test_options_of_a_cluster_are_refused_without_one(invoke: Invoke, photos: Path) -> None:
    done = invoke("batch", photos, photos.parent / "out", "--right", "16", "--replicas", "2", *COMMON)
    assert done.exit_code == 2 and "give --cluster too" in done.stderr
