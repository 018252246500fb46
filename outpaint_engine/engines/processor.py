"""What the operating system tells of this processor without loading anything."""

import platform
import sys
from functools import cache
from pathlib import Path

__all__ = ["has_bf16", "has_openvino_wheels", "is_intel", "lacks_bf16"]

CPUINFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def is_intel() -> bool:
    """Whether Intel made it."""
    # Windows writes the vendor at the end of the processor's name.
    return "GenuineIntel" in (_cpuinfo().get("vendor_id", ""), *platform.processor().split())


def has_bf16() -> bool:
    """Whether it is known to have instructions for bfloat16; only Linux tells."""
    return bool(BF16_FLAGS.intersection(_flags()))


def lacks_bf16() -> bool:
    """Whether it is known to have none."""
    return bool(_flags()) and not has_bf16()


def has_openvino_wheels() -> bool:
    """Whether OpenVINO's plug-in is published for this kind of machine: Linux and Windows on x86-64."""
    return sys.platform in ("linux", "win32") and platform.machine() in ("x86_64", "AMD64")


def _flags() -> list[str]:
    return _cpuinfo().get("flags", "").split()


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's entries; empty where the system has no such file."""
    if not CPUINFO.exists():
        return {}
    first = CPUINFO.read_text().split("\n\n")[0]
    entries = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in entries}
