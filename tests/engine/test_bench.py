"""`outpaint bench` as a real process: the table, the line, the file, the plot, and what it refuses."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from outpaint_engine.bench import BenchOptions
from outpaint_engine.bench.environment import read_environment
from outpaint_engine.bench.starts import fresh_starts
from outpaint_engine.errors import EngineSetError

TINY = Path(__file__).parents[1] / "goldens" / "tiny-9"
QUICK = ("--engines", str(TINY), "--steps", "2", "--repeats", "2", "--warmup", "0")
NVIDIA_SMI = """#!/bin/sh
case "$1" in
--query-gpu=memory.used) echo 1024 ;;
*) echo "NVIDIA H100, 580.65, 81559, 1980, 68.20" ;;
esac
"""


def bench(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "outpaint_engine", "bench", *arguments]
    paths = os.pathsep.join(part for part in (path, os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_the_line_says_what_ran_and_where(tmp_path: Path) -> None:
    done = bench(*QUICK, "--json", "--device", "ort-cpu", "--precision", "fp32", "--threads", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ran, starts = found["ran"], found["starts"]
    assert (ran["backend"], ran["device"], ran["precision"]) == ("ort-cpu", "cpu", "fp32")
    assert (ran["width"], ran["calls"], ran["rows"], ran["source"]) == (128, 2, 2, "tiny-9")
    assert len(ran["engine_set"]) == 64 and not ran["synthetic"]
    assert "onnxruntime" in found["environment"]["versions"] and found["options"]["load"]["threads"] == 1
    assert starts["imported"]["p50"] < starts["ready"]["p50"] < starts["first_picture"]["p50"]
    assert min(*starts["peak_rss"], found["peak_rss"]) > 20e6


def test_lines_are_appended_to_the_file(tmp_path: Path) -> None:
    for _ in range(2):
        done = bench(*QUICK, "--starts", "0", "--out", "history.jsonl", cwd=tmp_path)
        assert done.returncode == 0 and "UNet, all steps" in done.stdout, done.stderr
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["starts"] for line in lines] == [None, None]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra `plot`)")
    done = bench(*QUICK, "--starts", "0", "--plot", "bench.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from PIL import Image

    with Image.open(tmp_path / "bench.png") as image:
        assert image.size == (1500, 660) and image.convert("L").getextrema()[0] < 100


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--engines", "nowhere"), 4, "no engine set at 'nowhere'"),
        (("--device", "abacus"), 3, "'abacus'"),
        (("--width", "100"), 5, "width must be a multiple of 8"),
        (("--repeats", "0"), 2, "--repeats"),
        (("--scheduler", "magic"), 5, "scheduler must be one of"),
        (("--out", "missing/history.jsonl"), 1, "The folder 'missing' does not exist"),
    ],
)
def test_bad_input_gets_one_sentence_and_its_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = bench(*QUICK, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "") and words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_plot_without_matplotlib_names_the_pip_line_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    done = bench(*QUICK, "--plot", "bench.png", cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 3 and 'pip install "outpaint_engine[plot]"' in done.stderr


def test_a_fresh_process_that_fails_says_why_with_its_own_error() -> None:
    with pytest.raises(EngineSetError, match="There is no engine set"):
        fresh_starts(BenchOptions("nowhere"), lambda done: None)


def test_cards_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (gpu,) = read_environment().gpus
    assert (gpu.name, gpu.driver, gpu.memory, gpu.power) == ("NVIDIA H100", "580.65", 81559 * 2**20, "68.20")
    starts = fresh_starts(BenchOptions(str(TINY), steps=1), lambda done: None)
    assert starts is not None and starts.peak_device == (0,)
