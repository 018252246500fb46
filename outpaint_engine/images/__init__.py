"""Pictures in and out: opening what cannot be trusted, bringing it to sRGB, and writing files whole or not at all."""

from .mask import masked
from .opening import MAX_BYTES, MAX_PIXELS, header, open_original, open_picture, read_limited
from .original import KEEPING, Original, check_keeping, encode_original, with_original
from .picture import Picture, to_image
from .provenance import Provenance
from .writing import FORMATS, check_target, encode, write_all

__all__ = [
    "FORMATS",
    "KEEPING",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Original",
    "Picture",
    "Provenance",
    "check_keeping",
    "check_target",
    "encode",
    "encode_original",
    "header",
    "masked",
    "open_original",
    "open_picture",
    "read_limited",
    "to_image",
    "with_original",
    "write_all",
]
