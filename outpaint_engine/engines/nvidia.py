"""NVIDIA's driver, asked for the first GPU that this process may use. Loads the driver's library and nothing else."""

import ctypes
import sys
from functools import cache

__all__ = ["NO_GPU", "find_gpu"]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_GPU = f"no NVIDIA GPU was found (the driver's {LIBRARY} does not load, or it lists no GPU)"


@cache
def find_gpu() -> str:
    """Its name; an empty text where there is no driver or no GPU. CUDA_VISIBLE_DEVICES is honoured."""
    try:
        driver = ctypes.CDLL(LIBRARY)
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
