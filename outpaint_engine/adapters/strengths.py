"""How strongly a LoRA is merged: a factor on what its file adds, which may be negative."""

import math
from pathlib import Path

from ..errors import RequestError

__all__ = ["checked_strength", "file_and_strength"]

MOST = 100.0


def checked_strength(name: str, strength: object) -> float:
    """A LoRA's strength as a number.

    Raises:
        RequestError: it is none from -100 to 100.
    """
    try:
        number = float(strength)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not -MOST <= number <= MOST:
        raise RequestError(
            f"The strength of the LoRA {name!r:.60} must be a number from {-MOST:g} to {MOST:g}, not {strength!r:.40}."
        )
    return number


def file_and_strength(text: str) -> tuple[Path, float]:
    """What the terminal takes: FILE:STRENGTH, or a file alone for 1. A colon before no number is the file's own.

    Raises:
        RequestError: the strength is none from -100 to 100.
    """
    file, colon, strength = text.rpartition(":")
    try:
        float(strength)
    except ValueError:
        return Path(text), 1.0
    return (Path(file), checked_strength(file, strength)) if colon else (Path(text), 1.0)
