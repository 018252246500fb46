"""Finds out what the user named as SOURCE - a folder, one file, a hub id - and opens it."""

import re
from pathlib import Path

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from ..errors import SourceError
from .checkpoint import Origin, Sources
from .folders import PICKLE_REFUSED, PICKLES, open_folder
from .hub import fetch
from .one_file import open_checkpoint

__all__ = ["HUB_ID", "open_source", "silence_libraries"]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_source(source: str, revision: str | None = None, tokenizer: Path | None = None) -> Sources:
    """The checkpoint that `source` names.

    `revision` is a branch, tag or commit of a hub id; `tokenizer` a folder for a checkpoint in one file.

    Raises:
        SourceError: there is none, or it is not one that can be exported.
    """
    path = Path(source)
    if path.exists() and revision:
        raise SourceError(f"{source} is on this machine and has no revisions. Leave `--revision` out.")
    if path.is_dir():
        return open_folder(path, Origin(path.resolve().name))
    if path.suffix.lower() in PICKLES:
        raise SourceError(PICKLE_REFUSED.format(source))
    if path.is_file() and path.suffix.lower() == ".safetensors":
        return open_checkpoint(path, tokenizer, Origin(path.stem))
    if path.is_file():
        raise SourceError(f"{source} is not a checkpoint. Give a diffusers folder, a .safetensors file, or a hub id.")
    if not HUB_ID.fullmatch(source):
        raise SourceError(
            f"There is no folder or file {source!r}, and it is not a hub id such as owner/name. Check the spelling."
        )
    return open_folder(*fetch(source, revision))


def silence_libraries() -> None:
    """No progress bars but our own, and no advice of diffusers on schedulers that the user did not configure."""
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
