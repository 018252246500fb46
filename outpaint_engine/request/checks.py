"""Checks of single values; each raises a `RequestError` that names the field, what it may be, and what it was."""

from numbers import Integral, Real
from typing import Any

from ..canvas import MAX_SIDE
from ..errors import RequestError

__all__ = ["check_canvas_side", "check_interval", "check_number", "check_one_of", "check_text", "check_whole"]

MAX_PROMPT = 10_000


def check_text(name: str, value: Any) -> None:
    """Check that it is valid Unicode of a bounded length."""
    if not isinstance(value, str):
        raise RequestError(f"{name} must be text, not {type(value).__name__}.")
    if len(value) > MAX_PROMPT:
        raise RequestError(f"{name} has {len(value)} characters; {MAX_PROMPT} is the most. Shorten it.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name} has characters that are no valid Unicode: {error.reason}.") from error


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Check that it is a number from `low` to `high`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not low <= value <= high:
        raise RequestError(f"{name} must be a number from {low:g} to {high:g}, not {value!r:.40}.")


def check_interval(name: str, value: Any) -> None:
    """Check that it is two numbers from 0 to 1, in order."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise RequestError(f"{name} must be two numbers from 0 to 1, not {value!r:.40}.")
    check_number(f"the start of {name}", value[0], 0, 1)
    check_number(f"the end of {name}", value[1], 0, 1)
    if value[0] > value[1]:
        raise RequestError(f"{name} must not end before it begins: {value[0]:g} is after {value[1]:g}.")


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Check that it is a whole number from `low` to `high`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise RequestError(f"{name} must be a whole number from {low} to {high}, not {value!r:.40}.")


def check_canvas_side(name: str, value: Any) -> None:
    """Check that it is a multiple of 8 that a canvas may have as a side."""
    check_whole(name, value, 1, MAX_SIDE)
    if value % 8:
        below, above = value // 8 * 8, -(-value // 8) * 8
        nearest = f"{below} or {above}" if below else f"{above}"
        raise RequestError(f"{name} must be a multiple of 8, not {value}: the nearest are {nearest}.")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check that it is one of the names that are `allowed`."""
    if value not in allowed:
        names = ", ".join(each or "''" for each in allowed)
        raise RequestError(f"{name} must be one of {names}; not {value!r}.")
