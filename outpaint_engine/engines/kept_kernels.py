"""The kernels that TensorRT-RTX compiled on this GPU, kept for the next start in the user's cache folder.

They are code, and no manifest states their hash, so they do not lie beside the plan, where they could come from
elsewhere with it.
"""

import contextlib
from typing import Any

from ..cache import cache_folder, make_room, write_whole
from ..engine_set import Artifact
from .cuda_runtime import compute_capability

__all__ = ["KeptKernels"]

MOST_BYTES = 2**30
"""Of all that is kept; of a plan it is some megabytes."""


class KeptKernels:
    """The library's runtime cache of one plan, which its `settings` take; what was kept before is in it."""

    def __init__(self, settings: Any, artifact: Artifact) -> None:
        name = f"{artifact.files[artifact.file][:32]}-{compute_capability()}.cache"
        self._file = cache_folder("tensorrt-rtx") / name
        self._cache = settings.create_runtime_cache()
        with contextlib.suppress(OSError):
            # The library leaves out what another version or another GPU compiled.
            self._cache.deserialize(self._file.read_bytes())
        self._size = len(bytes(self._cache.serialize()))
        settings.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write the kernels down, if there are more than before; without a cache folder they are compiled anew."""
        content = bytes(self._cache.serialize())
        if len(content) == self._size:
            return
        with contextlib.suppress(OSError):
            write_whole(self._file, content)
            make_room(self._file.parent, MOST_BYTES)
