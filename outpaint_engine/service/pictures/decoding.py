"""Pictures of strangers are decoded in processes of their own, which are killed when one costs too much.

A process reads files from its standard input and answers with the same pictures as plain PNGs: upright, in sRGB,
with a mask's holes as transparent pixels, and without anything else that the files held. What reads those later never
meets a stranger's file. Started as `python -m outpaint_engine.service.pictures.decoding BYTES SECONDS`.
"""

import io
import math
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ...errors import ImageError

if TYPE_CHECKING:
    from ...images import Picture

__all__ = ["Decoded", "Decoders", "DecodingEnded", "Mask"]

LENGTH = struct.Struct("<?Q")
"""Whether it could be decoded, and how many bytes follow: the PNG, or the sentence that says why not."""
ENDED = "image takes too much time or memory to decode. Save it anew, as a plain or smaller picture."
WALL = 12
"""Times the CPU time that decoding may take by the clock, on a machine that is busy."""


class DecodingEnded(ImageError):
    """Decoding took too long or too much memory, and was ended."""


class Mask(NamedTuple):
    """A file that says by what is `painted` in it what of the picture is to be: PAINTED says how."""

    content: bytes
    painted: Literal["transparent", "white", "black"]


PAINTED = ("transparent", "white", "black")
"""As in AUTOMATIC1111's web UI, the transparency of a mask that has some is its black."""


class Decoded(NamedTuple):
    """A picture as the service's own PNG; its width and height, and whether some of it is transparent."""

    content: bytes
    size: tuple[int, int]
    transparent: bool

    @classmethod
    def of(cls, content: bytes) -> "Decoded":
        """What the header of a PNG that `Decoders.decode` made says (its IHDR, PNG specification 11.2.2)."""
        width, height, colour = struct.unpack_from(">IIxB", content, 16)
        return cls(content, (width, height), colour == RGBA)


RGBA = 6


class Decoders:
    """Up to `count` processes, started on use; safe to share between threads.

    Each picture may take `seconds` of CPU time, and `memory` bytes beside what an idle process has.
    """

    def __init__(self, count: int, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    def decode(self, content: bytes, mask: Mask | None = None) -> bytes:
        """The picture of a file as a PNG, transparent where the mask has it painted.

        Raises:
            DecodingEnded: it takes more time or memory than a picture may.
            ImageError: one is damaged, or not a picture that can be read, or the mask is not as it must be.
        """
        holes = b"" if mask is None else bytes([PAINTED.index(mask.painted)]) + mask.content
        with self._process() as process:
            assert process.stdin is not None and process.stdout is not None
            timer = threading.Timer(WALL * self._seconds, process.kill)
            timer.start()
            try:
                for sent in (content, holes):
                    process.stdin.write(LENGTH.pack(True, len(sent)) + sent)
                process.stdin.flush()
                decoded, answer = _read(process.stdout)
            except (EOFError, OSError) as error:
                raise DecodingEnded(ENDED) from error
            finally:
                timer.cancel()
        if not decoded:
            raise ImageError(answer.decode())
        return answer

    def close(self) -> None:
        """End the processes that are idle."""
        while not self._idle.empty():
            _end(self._idle.get())

    @contextmanager
    def _process(self) -> Iterator["subprocess.Popen[bytes]"]:
        process = self._idle.get()
        try:
            if process is None or process.poll() is not None:
                process = self._started()
            yield process
        except BaseException:
            _end(process)
            process = None
            raise
        finally:
            self._idle.put(process)

    def _started(self) -> "subprocess.Popen[bytes]":
        package = __name__.partition(".")[0]
        command = [sys.executable, "-m", __name__, str(self._memory), str(self._seconds)]
        # Wherever this package was found, it is found again; the environment, which may hold secrets, stays here.
        root = str(Path(sys.modules[package].__path__[0]).parent)
        environment = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        # That it is there and has loaded its libraries; the first picture is not charged for it.
        _read(process.stdout)
        return process


def _read(file: IO[bytes]) -> tuple[bool, bytes]:
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    good, length = LENGTH.unpack(head)
    content = file.read(length)
    if len(content) < length:
        raise EOFError
    return good, content


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not sent yet
                    pipe.close()
        process.wait()


def main(memory: int, seconds: float) -> None:
    """Decode until the standard input ends."""
    import resource

    from ...images import open_picture, to_image

    # Everything that decoding imports is there before memory is limited.
    _plain(open_picture(np.zeros((8, 8, 4), np.uint8)))
    _plain(open_picture(to_image(np.zeros((8, 8, 3), np.uint8))))
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    _write(True, b"")
    while True:
        try:
            _, content = _read(sys.stdin.buffer)
            _, holes = _read(sys.stdin.buffer)
        except EOFError:
            return
        spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        # Passing the soft limit ends the process.
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(spent + seconds), resource.RLIM_INFINITY))
        try:
            good, answer = True, _plain(_with_holes(open_picture(content), holes))
        except MemoryError:
            sys.exit(1)
        except ImageError as error:
            if isinstance(error.__cause__, MemoryError):
                sys.exit(1)
            good, answer = False, str(error).encode()
        _write(good, answer)


def _write(good: bool, answer: bytes) -> None:
    sys.stdout.buffer.write(LENGTH.pack(good, len(answer)) + answer)
    sys.stdout.buffer.flush()


def _with_holes(picture: "Picture", holes: bytes) -> "Picture":
    """The picture without what a mask has painted; `holes` is a number of PAINTED and the mask's file, or empty."""
    from ...images import Picture, open_picture

    if not holes:
        return picture
    mask, painted = open_picture(holes[1:]), PAINTED[holes[0]]
    if mask.size != picture.size:
        sizes = "mask is {}x{} and image is {}x{}".format(*mask.size, *picture.size)
        raise ImageError(f"{sizes}: make both of one size.")
    if painted == "transparent":
        if mask.opaque is None:
            raise ImageError("mask has no transparent pixels, which say what is to be painted.")
        hole = ~mask.opaque
    else:
        white = mask.pixels.mean(axis=2) >= 128 if mask.opaque is None else mask.opaque
        hole = white if painted == "white" else ~white
    return Picture(picture.pixels, ~hole if picture.opaque is None else picture.opaque & ~hole)


def _plain(picture: "Picture") -> bytes:
    """A PNG that opens as the same picture; written fast, it lives for as long as its job waits."""
    from PIL import Image

    alpha = None if picture.opaque is None else np.where(picture.opaque, 255, 0).astype(np.uint8)
    pixels = picture.pixels if alpha is None else np.dstack([picture.pixels, alpha])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
