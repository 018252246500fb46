"""What this machine is: its processor, the GPUs that the driver shows, and which libraries are installed.

Reads files and asks NVIDIA's driver; loads no library of a backend.
"""

import ctypes
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = [
    "NO_GPU",
    "cpu_flags",
    "cpu_name",
    "find_gpu",
    "has_bf16",
    "installed",
    "lacks_bf16",
    "usable_cores",
    "versions",
]

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_GPU = f"no NVIDIA GPU was found (the driver's {DRIVER} does not load, or it lists no GPU)"


def usable_cores() -> int:
    """How many CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's, such as "AMD EPYC 7763 64-Core Processor"."""
    return _cpuinfo().get("model name") or platform.processor()


def cpu_flags() -> frozenset[str]:
    """The instruction sets that Linux lists ("avx2", on ARM "asimd"); empty on other systems."""
    return frozenset((_cpuinfo().get("flags") or _cpuinfo().get("Features", "")).split())


def has_bf16() -> bool:
    """Whether the processor is known to have instructions for bfloat16 that backends use; only Linux tells."""
    return bool(BF16_FLAGS & cpu_flags())


def lacks_bf16() -> bool:
    """Whether it is known to have none."""
    return "flags" in _cpuinfo() and not has_bf16()


@cache
def find_gpu() -> str:
    """The name of the first NVIDIA GPU that this process may use; an empty text where there is no driver or no GPU.

    CUDA_VISIBLE_DEVICES is honoured.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ""
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    # Each of these is 0 where it worked.
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGetCount(ctypes.byref(count))
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, len(name), device)
    )
    return "" if failed else name.value.decode()


def installed(distribution: str) -> str:
    """The version of an installed distribution, else an empty text."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Of those of `distributions` that are installed."""
    return {name: version for name in distributions if (version := installed(name))}


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's entries; empty where the system has no such file."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text().split("\n\n")[0]
    entries = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in entries}
