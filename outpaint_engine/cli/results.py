"""What a run leaves in files: their names, and encoded pictures that say what they are made from."""

from pathlib import Path

import click

from ..canvas import Placement
from ..images import KEEPING, Original, check_keeping, encode, encode_original, open_original, with_original
from ..recipe import provenance_of
from ..request import OutpaintRequest
from ..run import OutpaintResult

__all__ = ["files_of", "numbered", "original_of"]


def numbered(path: Path, count: int) -> list[Path]:
    """The files of a result of `count` pictures."""
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]


def original_of(given: str | bytes, suffix: str, placement: Placement) -> Original | None:
    """What of the picture's own samples and profile the result keeps; checked before any work is done."""
    original = open_original(given) if suffix in KEEPING else None
    if original is None:
        return None
    if placement.scale != 1:
        click.echo("Note: The picture is scaled: its 16 bits or profile are not kept, 8-bit sRGB is written.", err=True)
        return None
    check_keeping(suffix, original)
    return original


def files_of(
    request: OutpaintRequest, result: OutpaintResult, original: Original | None, suffix: str, *, metadata: bool
) -> list[bytes]:
    """The pictures of a result, encoded for a file ending."""
    contents = []
    for index, image in enumerate(result.images):
        provenance = provenance_of(request, result, index) if metadata else None
        if original is None:
            contents.append(encode(image, suffix, provenance))
        else:
            contents.append(encode_original(with_original(image, result.plan, original), suffix, provenance))
    return contents
