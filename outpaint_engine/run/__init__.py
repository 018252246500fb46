"""One request being run: the picture on its canvas, what the loop begins with, the loop, and the picture again."""

from .checked import CheckedRun
from .place import Placed
from .result import OutpaintResult, OutpaintRun, Progress
from .straight import StraightRun, bucket_of, pictures_per_call

__all__ = [
    "CheckedRun",
    "OutpaintResult",
    "OutpaintRun",
    "Placed",
    "Progress",
    "StraightRun",
    "bucket_of",
    "pictures_per_call",
]
