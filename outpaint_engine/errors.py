"""Every error this package raises on purpose.

    OutpaintError
    ├── RequestError         the request contradicts itself or leaves its ranges   (also a ValueError)
    ├── ImageError           the picture cannot be read                            (also a ValueError)
    ├── AdapterError         a file of words or weights to add cannot be used       (also a ValueError)
    ├── EngineSetError       the engine set is missing, incomplete or damaged
    ├── BackendUnavailable   the device or runtime asked for cannot be used here
    ├── EngineError          an engine failed while it ran
    ├── OutputError          the result cannot be written
    ├── SafetyError          what was painted is refused, as the request asks
    └── NumericalError       an engine answered with NaN or infinity

Each message says what failed, what was expected and what to do next.
"""

__all__ = [
    "AdapterError",
    "BackendUnavailable",
    "EngineError",
    "EngineSetError",
    "ImageError",
    "NumericalError",
    "OutpaintError",
    "OutputError",
    "RequestError",
    "SafetyError",
]


class OutpaintError(Exception):
    """Base of all errors raised on purpose."""


class RequestError(OutpaintError, ValueError):
    """The request contradicts itself or leaves its ranges."""


class ImageError(OutpaintError, ValueError):
    """The picture cannot be read: not a picture, broken, too large, or animated."""


class AdapterError(OutpaintError, ValueError):
    """A file of words or weights to add is missing, damaged, or made for another model."""


class EngineSetError(OutpaintError):
    """The engine set is missing, incomplete or damaged."""


class BackendUnavailable(OutpaintError):  # noqa: N818 - reads as the state it reports
    """The device or runtime asked for cannot be used on this machine."""


class EngineError(OutpaintError):
    """An engine failed while it ran, or was fed something that it does not accept."""


class OutputError(OutpaintError):
    """The result cannot be written: no permission, no space, no such folder."""


class SafetyError(OutpaintError):
    """The safety checker flagged a picture, and the request asks to refuse such ones."""


class NumericalError(OutpaintError):
    """An engine answered with NaN or infinity; the message names the part and the step."""
