"""The machine and the libraries that a figure was measured with. Reads files and asks nvidia-smi; loads nothing."""

import os
import platform
import subprocess
from pathlib import Path

from .. import __version__
from ..machine import cpu_flags, cpu_name, usable_cores, versions
from .record import Environment, Gpu

__all__ = ["device_memory_in_use", "peak_rss", "read_environment"]

CPU_FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
    "i8mm",
)
LIBRARIES = (
    "numpy",
    "pillow",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-openvino",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "openvino",
    "tensorrt",
    "tensorrt-cu13",
    "tensorrt-rtx-cu13-libs",
    "cuda-python",
    "nvidia-cudnn-cu13",
    "torch",
    "diffusers",
    "transformers",
    "optimum",
    "optimum-onnx",
    "optimum-intel",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KMP_AFFINITY", "OMP_WAIT_POLICY")
MEBIBYTE = 2**20


def read_environment() -> Environment:
    """What figures measured now depend on; what this machine does not tell is empty or 0."""
    return Environment(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_flags=tuple(flag for flag in CPU_FLAGS if flag in cpu_flags()),
        cores=usable_cores(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0,
        gpus=_gpus(),
        versions={"outpaint_engine": __version__, "python": platform.python_version(), **versions(LIBRARIES)},
        commit=_commit(),
        threads={name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        load_average=tuple(round(load, 2) for load in os.getloadavg()) if hasattr(os, "getloadavg") else (),
    )


def peak_rss() -> int:
    """The largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # The kernel hands ru_maxrss down from the process that started this one; VmHWM begins anew.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def device_memory_in_use() -> int | None:
    """Bytes that all processes together hold on all NVIDIA cards; None without one."""
    rows = _nvidia_smi("memory.used")
    return sum(int(float(row[0])) * MEBIBYTE for row in rows) if rows else None


def _gpus() -> tuple[Gpu, ...]:
    rows = _nvidia_smi("name", "driver_version", "memory.total", "clocks.sm", "power.draw")
    return tuple(
        Gpu(name, driver, int(float(memory)) * MEBIBYTE, clock, power) for name, driver, memory, clock, power in rows
    )


def _nvidia_smi(*query: str) -> list[list[str]]:
    """One row a card; none where nvidia-smi is missing or fails."""
    command = ["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"]
    return [line.split(", ") for line in _output(command).splitlines()]


def _commit() -> str:
    """Of the checkout that this file is tracked in; an installed package inside another's checkout has none."""
    here = Path(__file__)
    if not _output(["git", "ls-files", here.name], here.parent):
        return ""
    changed = _output(["git", "status", "--porcelain", "--untracked-files=no"], here.parent)
    return _output(["git", "rev-parse", "HEAD"], here.parent) + ("+" if changed else "")


def _output(command: list[str], folder: Path | None = None) -> str:
    """What a program prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
