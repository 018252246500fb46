"""What a caller asks for, checked once."""

from ..canvas import MAX_SIDE
from .detail import Detail
from .request import DECODERS, MAX_SEED, SAFETY, SPEEDS, OutpaintRequest, all_names

__all__ = ["DECODERS", "MAX_SEED", "MAX_SIDE", "SAFETY", "SPEEDS", "Detail", "OutpaintRequest", "all_names"]
