"""The pictures that are extended: the demo's held-out scenes, or a folder of anybody's."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from outpaint_engine.tensors import Array

__all__ = ["EXTENDED", "Case", "folder_cases", "placed", "scene_cases"]

EXTENDED = ("sides", "right")
"""The middle half of a square is given and both its sides are painted, or a square is given and half as much painted
on its right."""
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


class Case(NamedTuple):
    """One picture: its name, and the fields of its request that no setting changes."""

    name: str
    fields: dict[str, Any]


def scene_cases(count: int, side: int, extend: str) -> Iterator[Case]:
    """Scenes that no part of the demo was trained on, every time of day and kind equally often."""
    from demo_model.scenes import HELD_OUT_SEED, draw, scenes

    for scene in islice(scenes(HELD_OUT_SEED, count), count):
        fields = {"prompt": scene.caption, "seed": scene.seed}
        yield Case(f"{scene.seed} {scene.caption}", fields | placed(draw(scene, side, side), extend))


def folder_cases(folder: Path, side: int, extend: str) -> Iterator[Case]:
    """Every picture of a folder, cropped to a square of `side`; NAME.txt beside NAME.png holds its prompt."""
    from PIL import Image, ImageOps

    for number, path in enumerate(sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)):
        text = path.with_suffix(".txt")
        fields = {"prompt": text.read_text("utf-8").strip() if text.exists() else "", "seed": number}
        with Image.open(path) as image:
            square = ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (side, side))
        yield Case(path.name, fields | placed(np.asarray(square), extend))


def placed(square: Array, extend: str) -> dict[str, Any]:
    """The fields that say what of a square is given and where it goes."""
    side = len(square)
    if extend == "right":
        return {"image": square, "width": side + side // 16 * 8, "height": side}
    edge = side // 32 * 8
    return {
        "image": np.ascontiguousarray(square[:, edge : side - edge]),
        "width": side,
        "height": side,
        "offset_x": edge,
    }
