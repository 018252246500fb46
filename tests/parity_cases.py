"""The matrix in which the engine is compared with diffusers' inpaint pipeline, and how each case is asked for.

Shared by the recorder (which needs torch), the live comparison (too) and the recorded comparison (which does
not). The placed picture is aligned to 8 pixels, where diffusers' corner-sampled latent mask and ours agree.
"""

import dataclasses
import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from outpaint_engine import OutpaintPipeline, OutpaintRequest

CHANNELS = (4, 9)
STRENGTHS = (0.3, 0.75, 1.0)
GUIDANCES = (1.0, 7.5)
SIZES = ((64, 64), (96, 64), (64, 128))
STEPS = (10, 25)
TRAJECTORY_STEPS = (10, 25, 50)
PROMPT, NEGATIVE = "the sun, the sea", "sea 7"
SCHEDULERS = (
    "DDIM", "DPM Multi", "DPM Multi Karras", "DPM Single", "Euler a", "Euler", "Heun", "DPM2 a Karras", "DPM2 Karras",
    "LMS", "PNDM", "DDPM", "UniPC", "DPM++ 2M SDE", "LCM",
)  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "scheduler_configs.json").read_text("utf-8"))
"""`scheduler_config.json` as public checkpoints and tools carry it, by a name of ours."""
SD15 = CONFIGS["sd15-pndm-0.21"]
VELOCITY = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
SCHEDULES = {"epsilon": {}, "velocity": VELOCITY, "zero_snr": {**VELOCITY, "rescale_betas_zero_snr": True}}
"""What the scheduler's config of a case gets beyond Stable Diffusion 1.5's; the last is the demo model's."""


class Case(NamedTuple):
    """One cell of the matrix; `size` is the canvas in pixels.

    Where `free`, the whole picture is painted anew: a 4-channel run is then pinned nowhere.
    """

    channels: int
    strength: float
    guidance: float
    size: tuple[int, int]
    steps: int
    kind: str = "epsilon"
    scheduler: str = "DDIM"
    free: bool = False

    def __str__(self) -> str:
        width, height = self.size
        name = f"{self.channels}ch-strength{self.strength}-guidance{self.guidance}-{width}x{height}-{self.steps}steps"
        parts = (self.kind, "epsilon"), (self.scheduler, "DDIM"), ("free" if self.free else "", "")
        return "-".join([name, *(part for part, usual in parts if part != usual)])

    @property
    def config(self) -> dict[str, Any]:
        """The checkpoint's `scheduler_config.json`: Stable Diffusion 1.5's and `SCHEDULES`."""
        return {**SD15, **SCHEDULES[self.kind]}

    @property
    def request(self) -> OutpaintRequest:
        """The case as a request."""
        return OutpaintRequest(
            image=picture(),
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            width=self.size[0],
            height=self.size[1],
            offset_x=16,
            offset_y=8,
            mask_expand=48 if self.free else 8,
            scheduler=self.scheduler,
            num_inference_steps=self.steps,
            strength=self.strength,
            guidance_scale=self.guidance,
            seed=2**33 + 5,
            detail="off",
        )


def cases() -> list[Case]:
    """72 cells that predict epsilon, and 6 that predict v as the demo model does."""
    epsilon = product(CHANNELS, STRENGTHS, GUIDANCES, SIZES, STEPS)
    velocity = product(CHANNELS, STRENGTHS, GUIDANCES[1:], SIZES[:1], STEPS[:1], ["zero_snr"])
    return [Case(*cell) for cell in (*epsilon, *velocity)]


def trajectory_cases() -> list[Case]:
    """810 cells of which every step is compared: 4 channels free and masked, 9 channels masked."""
    models = (4, 1.0, True), (4, 7.5, False), (9, 7.5, False)
    grid = product(models, STRENGTHS, TRAJECTORY_STEPS, ("epsilon", "velocity"), SCHEDULERS)
    return [
        Case(channels, strength, guidance, (64, 64), steps, kind, name, free)
        for (channels, guidance, free), strength, steps, kind, name in grid
    ]


def config_cases() -> list[tuple[str, str, int]]:
    """(config, scheduler, steps): every scheduler and the checkpoint's own over every public config."""
    return list(product(CONFIGS, (*SCHEDULERS, "DEIS", "TCD", "auto"), STEPS))


def scheduled(pipe: OutpaintPipeline, case: Case) -> OutpaintPipeline:
    """The same engines with the case's `scheduler_config.json`."""
    engine_set = dataclasses.replace(pipe.models.engine_set, scheduler=case.config)
    return OutpaintPipeline(pipe.models._replace(engine_set=engine_set))


def picture() -> np.ndarray:
    """40x48 pixels (height x width) of colour ramps and noise."""
    y, x = np.mgrid[0:40, 0:48]
    ramps = np.stack([5 * x, 6 * y, 255 - 4 * x], axis=-1)
    return np.clip(ramps + np.random.default_rng(5).integers(-20, 20, ramps.shape), 0, 255).astype(np.uint8)
