"""What is needed of CUDA through cuda-python: checked calls, the GPU's name, buffers, recorded work. No torch."""

from collections.abc import Callable
from typing import Any

from ..errors import EngineError

__all__ = ["Buffer", "RecordedWork", "checked", "compute_capability", "gpu_name"]


def checked(answer: tuple[Any, ...]) -> Any:
    """The value of a cuda-python call, which answers (status, value).

    Raises:
        EngineError: the status is not success.
    """
    status, *values = answer
    if int(status):
        from cuda.bindings import runtime as cuda

        reason: bytes = cuda.cudaGetErrorString(status)[1]
        raise EngineError(f"CUDA failed: {reason.decode()}. See `outpaint devices`.")
    return values[0] if values else None


def gpu_name() -> str:
    """That of the first GPU, such as "NVIDIA GeForce RTX 4090"."""
    from cuda.bindings import runtime as cuda

    name: bytes = checked(cuda.cudaGetDeviceProperties(0)).name
    return name.split(b"\0")[0].decode()


def compute_capability() -> str:
    """That of the first GPU, as "sm89"."""
    from cuda.bindings import runtime as cuda

    kinds = cuda.cudaDeviceAttr
    wanted = (kinds.cudaDevAttrComputeCapabilityMajor, kinds.cudaDevAttrComputeCapabilityMinor)
    major, minor = (checked(cuda.cudaDeviceGetAttribute(kind, 0)) for kind in wanted)
    return f"sm{major}{minor}"


class Buffer:
    """Memory on the GPU that grows when it must; `address` is where it begins."""

    def __init__(self, cuda: Any) -> None:
        self._cuda, self._size, self.address = cuda, 0, 0

    def hold(self, size: int) -> None:
        """Have room for `size` bytes, at least one: no library takes a null address."""
        if size > self._size or not self.address:
            self.free()
            self.address, self._size = int(checked(self._cuda.cudaMalloc(max(1, size)))), size

    def free(self) -> None:
        """Give the memory back."""
        if self.address:
            checked(self._cuda.cudaFree(self.address))
        self.address = self._size = 0


class RecordedWork:
    """The work of one call, recorded as a CUDA graph so that the GPU replays it with one launch.

    The first call runs as it is, since libraries allocate then; the second is recorded.
    """

    def __init__(self, cuda: Any, stream: Any) -> None:
        self._cuda, self._stream = cuda, stream
        self._calls, self._recorded = 0, None

    def run(self, enqueue: Callable[[], None]) -> None:
        """Run what `enqueue` puts on the stream."""
        self._calls += 1
        if self._calls == 1:
            enqueue()
            return
        if self._recorded is None:
            self._recorded = self._record(enqueue)
        checked(self._cuda.cudaGraphLaunch(self._recorded, self._stream))

    def forget(self) -> None:
        """Drop what was recorded, since shapes or buffers change."""
        if self._recorded is not None:
            checked(self._cuda.cudaGraphExecDestroy(self._recorded))
        self._calls, self._recorded = 0, None

    def _record(self, enqueue: Callable[[], None]) -> Any:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(self._cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue()
        except BaseException:
            # It ends with an error of its own, which is not the reason.
            self._cuda.cudaStreamEndCapture(self._stream)
            raise
        graph = checked(self._cuda.cudaStreamEndCapture(self._stream))
        recorded = checked(self._cuda.cudaGraphInstantiate(graph, 0))
        checked(self._cuda.cudaGraphDestroy(graph))
        return recorded
