"""Draws the pictures of README.md and docs/demo.md with the demo engine set.

PYTHONPATH=export python docs/make_pictures.py
"""

from itertools import islice
from pathlib import Path

import numpy as np
from demo_model.scenes import HELD_OUT_SEED, draw, scenes
from PIL import Image

from outpaint_engine import OutpaintPipeline

HERE = Path(__file__).parent
GAP = 16
SAMPLING = {"guidance_scale": 2.5, "seed": 2}


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures of one height in a row, with white between them."""
    gap = np.full((len(pictures[0]), GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.hstack(parts[:-1])


def before_after(pipe: OutpaintPipeline) -> np.ndarray:
    """The README's example and what its first command makes of it."""
    example = HERE.parent / "examples" / "sunset-mountains.png"
    result = pipe(image=example, prompt="sunset mountains with sun", width=448, height=256, offset_x=96, **SAMPLING)
    with Image.open(example) as before:
        return beside(np.asarray(before), np.asarray(result.images[0]))


def held_out(pipe: OutpaintPipeline) -> np.ndarray:
    """Six scenes that the model never saw: the whole, its middle extended to both sides, its quarter to all four."""
    rows = []
    for scene in islice(scenes(HELD_OUT_SEED, 200), 0, 54, 9):
        whole = draw(scene, 448, 256)
        sides = pipe(image=whole[:, 96:352], prompt=scene.caption, width=448, height=256, offset_x=96, **SAMPLING)
        quarter = {"width": 256, "height": 256, "offset_x": 64, "offset_y": 64}
        around = pipe(image=whole[64:192, 160:288], prompt=scene.caption, **quarter, **SAMPLING)
        rows.append(beside(whole, np.asarray(sides.images[0]), np.asarray(around.images[0])))
    return np.vstack(rows)


def main() -> None:
    """Write both pictures."""
    with OutpaintPipeline.from_pretrained("demo") as pipe:
        Image.fromarray(before_after(pipe)).save(HERE / "images" / "before-after.png", optimize=True)
        Image.fromarray(held_out(pipe)).save(HERE / "images" / "held-out.png", optimize=True)


if __name__ == "__main__":
    main()
