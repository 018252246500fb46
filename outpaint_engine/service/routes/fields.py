"""Checks the fields of another API's request: each is honoured, or refused by its name."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..refusals import InputRefused

__all__ = ["checked", "refused"]

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], given: Mapping[str, Any]) -> M:
    """The fields as the model has them.

    Raises:
        InputRefused: one is missing, is none that can be honoured, or has another value than it may; it is named.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise refused(".".join(map(str, fault["loc"])), _said(fault["type"], fault["msg"], fault["input"])) from None


def refused(field: str, rest: str) -> InputRefused:
    """The refusal of a field; `rest` goes on after its name."""
    return InputRefused(sentence=f"{field} {rest}", field=field)


def _said(kind: str, message: str, value: Any) -> str:
    if kind == "missing":
        return "is missing; it is required."
    if kind == "extra_forbidden":
        return "cannot be honoured here: leave it out."
    shown = f"{value!r:.40}" if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
    return f"{re.sub('^Input should', 'must', message.removeprefix('Value error, '))}, not {shown}."
