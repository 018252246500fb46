"""Pictures in and out: opening what cannot be trusted, bringing it to sRGB, and writing files whole or not at all."""

from .opening import MAX_BYTES, MAX_PIXELS, header, open_picture, read_limited
from .picture import Picture, to_image
from .writing import FORMATS, check_target, encode, write_all

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Picture",
    "check_target",
    "encode",
    "header",
    "open_picture",
    "read_limited",
    "to_image",
    "write_all",
]
