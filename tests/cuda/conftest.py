"""What these tests run on: onnxruntime-gpu in a folder of its own, and stubs of CUDA that count what it launches."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = "OUTPAINT_CUDA_WHEELS"
"""The variable that names the folder; CONTRIBUTING.md says how it is filled."""


@pytest.fixture(scope="session")
def on_stubs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds onnxruntime-gpu and the stubs."""
    wheels = os.environ.get(WHEELS)
    if not wheels:
        pytest.skip(f"{WHEELS} names no folder with onnxruntime-gpu; see CONTRIBUTING.md")
    if not shutil.which("gcc") or not shutil.which("nm"):
        pytest.skip("gcc and nm, which build the stubs, are not installed")
    stubs = tmp_path_factory.mktemp("stubs")
    paths = os.pathsep.join([str(Path(wheels).absolute()), str(ROOT), str(ROOT / "export")])
    environment = {**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": str(stubs)}
    subprocess.run([sys.executable, "-m", "tests.cuda.build_stubs", str(stubs)], cwd=ROOT, env=environment, check=True)
    return environment


@pytest.fixture(scope="session")
def counted(on_stubs: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """`counted(engine_set, part, rows, side)`: what each of some calls of an engine on `ort-cuda` sent to the GPU."""

    def run(engine_set: Path, part: str, rows: int, side: int) -> dict[str, Any]:
        found: dict[str, Any] = _printed(on_stubs, "counting", engine_set, part, rows, side)
        return found

    return run


@pytest.fixture(scope="session")
def counted_steps(on_stubs: dict[str, str]) -> Callable[[Path, int], list[list[dict[str, Any]]]]:
    """`counted_steps(engine_set, side)`: what each step of two pictures sent to the GPU, in the loop on the device."""

    def run(engine_set: Path, side: int) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = _printed(on_stubs, "counting_steps", engine_set, side)
        return found

    return run


def _printed(environment: dict[str, str], module: str, *arguments: object) -> Any:
    """The last line, as JSON, of a module of this folder."""
    command = [sys.executable, "-m", f"tests.cuda.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
