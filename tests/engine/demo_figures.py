"""Measures the demo on scenes it was never trained on; `python -m tests.engine.demo_figures` prints the figures.

The pictures are cut from held-out scenes, so what a perfect model could score is measured too, on the scenes
themselves.
"""

import statistics
from dataclasses import dataclass
from itertools import islice

import numpy as np
from demo_model.scenes import HELD_OUT_SEED, TIMES, Scene, draw, scenes
from tqdm import tqdm

from outpaint_engine import OutpaintPipeline, Placement, plan
from outpaint_engine.canvas import report

COUNT = 40
SIDE, EXTRA, EXPAND = 256, 64, 8
STEPS = 25


@dataclass(frozen=True)
class Figures:
    """Medians and shares over held-out scenes; the `_of_the_scene` ones are of the undisturbed picture."""

    autoencoder_psnr: float
    changed_pixels: int
    seam_gradient_ratio: float
    seam_gradient_ratio_of_the_scene: float
    ring_color_shift: float
    ring_color_shift_of_the_scene: float
    time_of_day_followed: float


def held_out(count: int = COUNT) -> list[Scene]:
    """The scenes, every time of day and kind about equally often."""
    return list(islice(scenes(HELD_OUT_SEED, COUNT), count))


def measure(pipe: OutpaintPipeline, count: int = COUNT) -> Figures:
    """Paint around `count` scenes, twice each; `COUNT` take minutes on two CPU cores."""
    chosen = held_out(count)
    psnr = [autoencoder_psnr(pipe, draw(scene, SIDE, SIDE)) for scene in tqdm(chosen, desc="autoencoder")]
    widened = [widen(pipe, scene) for scene in tqdm(chosen, desc="sides extended")]
    found, original = zip(*widened, strict=True)
    references = {time: palette_of_time(time) for time in TIMES}
    followed = [follows_time(pipe, scene, references) for scene in tqdm(chosen, desc="one quarter known")]
    return Figures(
        statistics.mean(psnr),
        sum(quality.changed_pixels for quality in found),
        statistics.median(quality.seam_gradient_ratio for quality in found),
        statistics.median(quality.seam_gradient_ratio for quality in original),
        statistics.median(quality.ring_color_shift for quality in found),
        statistics.median(quality.ring_color_shift for quality in original),
        statistics.mean(followed),
    )


def autoencoder_psnr(pipe: OutpaintPipeline, pixels: np.ndarray) -> float:
    """Peak signal-to-noise ratio of one picture through encoder (posterior mean) and decoder, in dB."""
    models = pipe.models
    model_pixels = (pixels / 127.5 - 1).transpose(2, 0, 1)[None].astype(np.float32)
    rebuilt = np.clip(models.vae_decoder.decode(models.vae_encoder.encode(model_pixels).mean), -1, 1)
    error = float((((rebuilt - model_pixels) * 127.5) ** 2).mean())
    return 10 * float(np.log10(255**2 / error))


def widen(pipe: OutpaintPipeline, scene: Scene) -> tuple:
    """Quality of the middle of a wide scene extended to both sides again, and of the scene itself."""
    wide = draw(scene, SIDE + 2 * EXTRA, SIDE)
    middle = wide[:, EXTRA : EXTRA + SIDE]
    placement = Placement.from_sides((SIDE, SIDE), left=EXTRA, right=EXTRA)
    request = {"width": placement.width, "height": placement.height, "offset_x": EXTRA, "mask_expand": EXPAND}
    result = pipe(image=middle, prompt=scene.caption, seed=scene.seed, num_inference_steps=STEPS, **request)
    planned = plan((SIDE, SIDE), placement, EXPAND)
    return result.quality[0], report(wide, wide, planned)


def thirds(pixels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean colour of the upper, middle and lower third of a picture, counted pixels only: shape (3, 3)."""
    rows = np.array_split(np.arange(len(pixels)), 3)
    return np.stack([pixels[part][counted[part]].mean(axis=0) for part in rows])


def palette_of_time(time: str) -> np.ndarray:
    """Mean colours by thirds of other scenes at that time of day."""
    same = [scene for scene in scenes(HELD_OUT_SEED + 1, COUNT) if scene.time == time]
    whole = np.ones((SIDE, SIDE), bool)
    return np.mean([thirds(draw(scene, SIDE, SIDE), whole) for scene in same], axis=0)


def follows_time(pipe: OutpaintPipeline, scene: Scene, references: dict[str, np.ndarray]) -> bool:
    """Whether a picture painted around its middle quarter has the palette of the time of day in the prompt."""
    middle = draw(scene, SIDE, SIDE)[SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4]
    placed = {"width": SIDE, "height": SIDE, "offset_x": SIDE // 4, "offset_y": SIDE // 4}
    result = pipe(image=middle, prompt=scene.caption, seed=scene.seed, num_inference_steps=STEPS, **placed)
    painted = thirds(np.asarray(result.images[0], np.float64), result.plan.unknown == 1)
    return min(references, key=lambda time: float(np.abs(painted - references[time]).mean())) == scene.time


if __name__ == "__main__":
    with OutpaintPipeline.from_pretrained("demo") as demo:
        for name, value in vars(measure(demo)).items():
            print(f"| {name.replace('_', ' ')} | {value:.3g} |")
