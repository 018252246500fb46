"""A video of frames, by the ffmpeg that imageio-ffmpeg brings."""

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..images import check_target
from ..tensors import Array

__all__ = ["check_ffmpeg", "write_video"]

ENDINGS = (".mp4", ".webm", ".mkv", ".mov")


def check_ffmpeg(path: Path) -> None:
    """Check, before any work is done, that a video can be written to `path`.

    Raises:
        OutputError: the library or the folder is missing, or the file's ending is none of a video.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"A video's name must end in {', '.join(ENDINGS)}; not {path.name!r}.")
    check_target(path)
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise OutputError(
            'A video needs imageio-ffmpeg, which is not installed: pip install "outpaint_engine[video]".'
        ) from error


def write_video(path: Path, frames: Iterable[Array], size: tuple[int, int], fps: float) -> None:
    """Write frames, uint8 (height, width, 3) of `size` (width, height), as a video that is there whole or not at all.

    Raises:
        OutputError: ffmpeg failed, or the file cannot be written.
    """
    import imageio_ffmpeg

    target = check_target(path)
    handle, part = tempfile.mkstemp(prefix=".outpaint-", suffix=target.suffix.lower(), dir=target.parent)
    os.close(handle)
    try:
        # Sides of frames are multiples of 8, which every codec takes.
        writer = imageio_ffmpeg.write_frames(part, size, fps=fps, macro_block_size=8, quality=8)
        with contextlib.closing(writer):
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        os.chmod(part, 0o644)
        os.replace(part, target)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {str(error).splitlines()[0]}.") from error
    finally:
        Path(part).unlink(missing_ok=True)
