"""Finds the module of a part that a set may have or lack, in a folder or on the hub; safetensors only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import SourceError
from .folders import load_module, variant_of
from .hub import Parts, fetch
from .opening import HUB_ID

__all__ = ["optional_folder", "optional_module"]


def optional_folder(named: str, revision: str | None, parts: Parts, beside: tuple[str, ...], remedy: str) -> Path:
    """The folder that `named` is, or what is needed of that hub id; see `hub.fetch`. What is in it is to be looked at.

    Raises:
        SourceError: it is neither; `remedy` says how to do without the part.
    """
    if Path(named).is_dir():
        return Path(named)
    if not HUB_ID.fullmatch(named):
        raise SourceError(f"There is no folder {named!r}, and it is not a hub id such as owner/name. {remedy}")
    return fetch(named, revision, parts=parts, beside=beside)[0]


def optional_module(kind: Any, folder: Path, parts: Parts, remedy: str) -> Callable[[], nn.Module]:
    """A function that loads the one module of `parts`, of diffusers' or transformers' class `kind`.

    Raises:
        SourceError: it is of another kind, or a pickle; `remedy` says how to do without it.
    """
    (part,) = parts
    try:
        variant = variant_of(folder, part, parts)
    except SourceError as error:
        raise SourceError(f"{error} {remedy}") from error
    return lambda: load_module(kind, folder / part, variant)
