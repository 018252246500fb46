"""No library behind the backends reports anything: no new file in the home folder, no connection tried."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from outpaint_engine.engines import BACKENDS

ROOT = Path(__file__).parents[2]
SOCKET = {"x86_64": 41, "aarch64": 198}
"""The number of the system call `socket`."""
RUN = """
import ctypes, struct, sys
import numpy as np

def no_network(socket):
    # A filter of system calls (seccomp): socket() of the families IPv4 and IPv6 ends the process.
    rules = [(0x20, 0, 0, 0), (0x15, 0, 4, socket), (0x20, 0, 0, 16), (0x15, 1, 0, 2), (0x15, 0, 1, 10)]
    rules += [(0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.c_char_p(program), 0, 0):
        sys.exit("no seccomp here")

no_network(int(sys.argv[2]))
from outpaint_engine import OutpaintPipeline
with OutpaintPipeline.from_pretrained(sys.argv[3], device=sys.argv[1]) as pipe:
    pipe(image=np.full((48, 64, 3), 99, np.uint8), width=128, height=64, num_inference_steps=1)
print("painted")
"""
NETWORK = "import socket; socket.socket(socket.AF_INET)"


def run(home: Path, code: str, backend: str, **settings: str) -> subprocess.CompletedProcess[str]:
    number = SOCKET.get(platform.machine())
    if sys.platform != "linux" or number is None:
        pytest.skip("the filter of system calls is written for Linux on x86-64 and ARM64")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, backend, str(number), str(ROOT / "tests" / "goldens" / "tiny-9")],
        env={"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **kept, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "no seccomp here" in done.stderr:
        pytest.skip("this kernel lets a process filter no system calls")
    return done


@pytest.mark.parametrize("name", [backend.name for backend in BACKENDS if backend.probe().usable])
def test_a_run_leaves_no_file_in_the_home_folder_and_opens_no_socket(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, RUN, name)
    assert (done.returncode, done.stdout) == (0, "painted\n"), done.stderr
    ours = tmp_path / ".cache" / "outpaint_engine"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(ours)] == []


def test_the_filter_of_this_test_ends_a_process_that_opens_a_socket(tmp_path: Path) -> None:
    first, _, _ = RUN.partition("from outpaint_engine")
    assert run(tmp_path, first + NETWORK, "none").returncode < 0


def test_a_users_own_setting_of_onnx_runtimes_telemetry_stays(tmp_path: Path) -> None:
    code = "import os, outpaint_engine.engines; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(tmp_path, code, "none", ORT_DISABLE_TELEMETRY="0").stdout == "0\n"
    assert run(tmp_path, code, "none").stdout == "1\n"


def test_a_program_that_has_imported_openvinos_telemetry_keeps_it(tmp_path: Path) -> None:
    pytest.importorskip("openvino_telemetry")
    chosen = (
        "import openvino_telemetry, sys; from outpaint_engine.engines import openvino; openvino._core();"
        "print(sys.modules['openvino_telemetry'] is openvino_telemetry)"
    )
    assert run(tmp_path, chosen, "none", CI="true").stdout == "True\n"
