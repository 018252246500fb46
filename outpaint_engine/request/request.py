"""What a caller asks for: one frozen, validated object shared by the Python API, the command line and HTTP.

Names follow diffusers and Segmind's SD1.5 Outpainting API. Ranges are those of the method, not of a price
list; a service may narrow them.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ..canvas import INFILLS, MAX_SIDE, WAYS, Placement, way_of
from ..denoise import LEVELS, Reuse
from ..errors import RequestError
from ..images import open_picture
from ..noise import NOISES
from ..prompts import LONG_PROMPTS, WEIGHTINGS
from ..samplers import AUTO, SCHEDULERS, SPREADS, Scheduler, find_scheduler
from .checks import check_canvas_side, check_interval, check_number, check_one_of, check_text, check_whole
from .detail import MAX_STRAIGHT_SIDE, Detail
from .keywords import check_names

__all__ = ["DECODERS", "MAX_SEED", "SAFETY", "SPEEDS", "OutpaintRequest", "all_names"]

DECODERS = ("full", "tiny")
SAFETY = ("off", "flag", "refuse")
MAX_CANVAS = 200_000_000
MAX_SEED = 2**63 - 1
SPEEDS: Mapping[str, Mapping[str, Any]] = {
    "exact": {},
    "balanced": {"reuse": "careful"},
    "fast": {"num_inference_steps": 19, "reuse": "fast"},
}
"""What `speed` stands for, from the curve in docs/speed.md. What a caller states beside it comes first."""


@dataclass(frozen=True)
class OutpaintRequest:
    """One outpainting. Checked when made; a request that exists is one that can be tried.

    Raises:
        RequestError: a field leaves its range, or its name is none; the message names the field, the range and the
            value, or the name that was meant.
    """

    image: Any = field(repr=False)
    """A path, the bytes of an image file, a PIL image, uint8 pixels (height, width, 3 or 4), or an opened `Picture`."""
    prompt: str = ""
    negative_prompt: str | None = None
    """None, the empty string and the literal "NONE" all mean: no negative prompt."""
    prompt_weighting: str = "auto"
    """Whether brackets in the prompts are weights: "on", "off", or "auto" for "on" if one states a number."""
    long_prompts: str = "chunks"
    """What is done with tokens beyond the first 75: read them in further "chunks", or "truncate" as diffusers does."""
    clip_skip: int | None = None
    """How many of the text encoder's last layers to leave out for the prompt, counted as diffusers does."""
    clip_skip_negative: bool = False
    """Leave them out for the negative prompt too, as AUTOMATIC1111's web UI does and diffusers does not."""

    # Placement: the picture, resized by `scale`, goes with its top-left corner to (offset_x, offset_y).
    width: int = 512
    height: int = 512
    scale: float = 1.0
    offset_x: int = 0
    offset_y: int = 0
    mask_expand: int = 8
    """Pixels of the picture's border that are painted anew and blended, on sides that meet unknown canvas."""
    mask: Any = field(default=None, repr=False)
    """What is painted of the image itself: a picture of its size, as `image` or an array (height, width) of uint8 or
    bool. White is painted as transparent pixels are, grey more freely the lighter it is, and black is kept."""

    wrap: str = ""
    """Directions in which the canvas goes on at its other side: "x" for a panorama all around, "xy" for a tile, "y"."""
    detail: str | Detail = "auto"
    """How a canvas larger than the model is painted: "off" at once, as diffusers does; "on" or a `Detail`: composed at
    the model's size and refined; "auto": so where it is more than 1.5 times that a side."""

    # Sampling.
    scheduler: str = "DDIM"
    """A name or alias of `outpaint_engine.samplers.SCHEDULERS`, also with a word of `SPREADS` behind ("Euler Karras");
    "auto" is the class that the checkpoint's own `scheduler_config.json` is of."""
    num_inference_steps: int = 25
    strength: float = 1.0
    """Share of the steps that is run, in (0, 1]; below 1 the run starts from the filled canvas plus noise."""
    guidance_scale: float = 7.5
    """At 1 or below the negative prompt is ignored and every step costs one UNet pass instead of two."""
    guidance_rescale: float = 0.0
    """0 to 1: how far to bring the guided prediction's deviation back to the prompt's own (Lin et al. 2023, 3.4)."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Guide between these two fractions of the run only; see `denoise.guided_calls`."""
    guidance_every: int = 1
    """Both predictions in every n-th guided call only; between, their difference is forecast. Not with `reuse`."""
    reuse: str | Reuse = "off"
    """Steps in which the UNet is not run whole: "off", "careful" (every 2nd is), "fast" (every 3rd), or a `Reuse`."""
    eta: float = 0.0
    """For DDIM: 0 is DDIM, 1 is DDPM's variance; equation (16) of Song et al. 2021. For TCD: its gamma."""
    seed: int = -1
    """-1 draws one; the result says which."""
    noise: str = "torch"
    """What turns the seed into noise: "torch" (its CPU generator, as in diffusers), "torch-cuda" or "numpy"."""
    num_images: int = 1

    window: bool = False
    """Compute the unknown canvas and its context only: another picture, sooner; see `window.window_of`."""

    # The canvas before and after the model.
    infill: str = "auto"
    color_match: bool = True
    decoder: str = "full"
    """What makes the picture of the latents: the VAE's decoder ("full"), or the engine set's "tiny" one, sooner."""
    safety: str = "off"
    """Whether the engine set's safety checker looks at what was painted: not ("off"), to "flag" it in the result, or to
    "refuse" it."""

    def __new__(cls, *_: Any, **fields: Any) -> Self:
        """Check the names, which the message of a TypeError would leave without advice."""
        names = [field.name for field in dataclasses.fields(cls)]
        other = next((name for name in fields if name in (*WAYS["sides"], *WAYS["aspect"])), None)
        if other:
            raise RequestError(
                f"{other} needs the picture's size: give it to pipe(...) or OutpaintRequest.placed(...)."
            )
        if "speed" in fields:
            raise RequestError("speed stands for other options: give it to pipe(...) or OutpaintRequest.placed(...).")
        check_names(fields, names)
        return super().__new__(cls)

    @classmethod
    def placed(cls, **fields: Any) -> Self:
        """A request whose placement is said in any of the three ways: sides and aspect ratio beside the canvas.

        `left`, `right`, `top` and `bottom` are pixels to add; `aspect` is "W:H", with `anchor`; see
        `Placement.from_sides` and `Placement.from_aspect`. For these two the picture is opened here, once. `speed` is
        a name of `SPEEDS`.

        Raises:
            RequestError: see the class; or the placement is said in several ways.
            ImageError: the picture cannot be opened.
        """
        check_names(fields, all_names())
        if "image" not in fields:
            raise RequestError("image is missing: give a path, bytes, a PIL image or an array.")
        speed = fields.pop("speed", None) or "exact"
        check_one_of("speed", speed, tuple(SPEEDS))
        fields = {**SPEEDS[speed], **fields}
        names = (*sum(WAYS.values(), ()), "scale")
        fields = {name: value for name, value in fields.items() if value is not None or name not in names}
        if way_of(fields) in ("", "canvas"):
            return cls(**fields)
        for side in WAYS["sides"]:
            check_whole(side, fields.get(side, 0), 0, 16 * MAX_SIDE)
        check_number("scale", fields.get("scale", 1.0), 0.01, 100)
        picture = open_picture(fields.pop("image"))
        given = {name: fields.pop(name) for name in names if name in fields}
        return cls(image=picture, **dataclasses.asdict(Placement.of(picture.size, given)), **fields)

    def __post_init__(self) -> None:
        """Check every field that can be checked without opening the picture."""
        check_text("prompt", self.prompt)
        if self.negative_prompt is not None:
            check_text("negative_prompt", self.negative_prompt)
        check_one_of("prompt_weighting", self.prompt_weighting, WEIGHTINGS)
        check_one_of("long_prompts", self.long_prompts, LONG_PROMPTS)
        if self.clip_skip is not None:
            check_whole("clip_skip", self.clip_skip, 1, 100)
        for name in ("width", "height"):
            check_canvas_side(name, getattr(self, name))
        if self.width * self.height > MAX_CANVAS:
            raise RequestError(
                f"The canvas of {self.width}x{self.height} has more than {MAX_CANVAS:,} pixels. Make it smaller."
            )
        if not isinstance(self.detail, Detail):
            check_one_of("detail", self.detail, ("auto", "on", "off"))
        if self.detail == "off" and max(self.width, self.height) > MAX_STRAIGHT_SIDE:
            raise RequestError(
                f"A canvas of {self.width}x{self.height} cannot be painted at once: at most {MAX_STRAIGHT_SIDE} pixels "
                "a side. Leave detail at auto, or make the canvas smaller."
            )
        check_one_of("wrap", self.wrap, ("", "x", "y", "xy"))
        if self.window and self.wrap:
            raise RequestError("window leaves out a part of the canvas, which wrap joins: choose one of them.")
        check_number("scale", self.scale, 0.01, 100)
        for name in ("offset_x", "offset_y"):
            check_whole(name, getattr(self, name), -16 * MAX_SIDE, MAX_SIDE)
        check_whole("mask_expand", self.mask_expand, 0, 256)
        scheduler = self.chosen_scheduler
        check_whole("num_inference_steps", self.num_inference_steps, 1, 1000)
        check_number("strength", self.strength, 0, 1)
        if self.strength == 0:
            raise RequestError("strength must be above 0: at 0 no step is run and nothing is painted.")
        check_number("guidance_scale", self.guidance_scale, 0, 100)
        check_number("guidance_rescale", self.guidance_rescale, 0, 1)
        check_interval("guidance_interval", self.guidance_interval)
        check_number("eta", self.eta, 0, 1)
        check_whole("guidance_every", self.guidance_every, 1, 10)
        if scheduler:
            self.check_scheduler(scheduler)
        check_whole("seed", self.seed, -1, MAX_SEED)
        check_one_of("noise", self.noise, tuple(NOISES))
        check_whole("num_images", self.num_images, 1, 64)
        check_whole("seed + num_images - 1", self.seed + self.num_images - 1, -1, MAX_SEED)
        check_one_of("infill", self.infill, ("auto", *INFILLS))
        check_one_of("decoder", self.decoder, DECODERS)
        check_one_of("safety", self.safety, SAFETY)

    @property
    def chosen_scheduler(self) -> Scheduler | None:
        """The sampler that `scheduler` names; None for the checkpoint's own."""
        if str(self.scheduler).lower() == AUTO:
            return None
        found = find_scheduler(str(self.scheduler))
        if found is None:
            names = ", ".join(scheduler.name for scheduler in SCHEDULERS)
            raise RequestError(
                f"scheduler must be one of {names}, many also with {' or '.join(SPREADS)} behind, or {AUTO}; "
                f"not {self.scheduler!r:.40}."
            )
        return found

    def check_scheduler(self, scheduler: Scheduler) -> None:
        """Refuse what `scheduler` cannot do; one that is named is checked at once, the checkpoint's own by the run."""
        if self.eta and not scheduler.takes_eta:
            raise RequestError(f"eta is for DDIM and TCD: leave it at 0 with {scheduler.name}, not {self.eta!r}.")
        self.chosen_reuse.check(scheduler, self.eta, self.guidance_every)

    @property
    def chosen_reuse(self) -> Reuse:
        """The numbers behind `reuse`."""
        if isinstance(self.reuse, Reuse):
            return self.reuse
        check_one_of("reuse", self.reuse, tuple(LEVELS))
        return LEVELS[self.reuse]

    @property
    def chosen_detail(self) -> Detail:
        """What `detail` says of levels and tiles, where the canvas is refined."""
        return self.detail if isinstance(self.detail, Detail) else Detail()

    @property
    def placement(self) -> Placement:
        """The five fields that say where the picture goes."""
        return Placement(self.width, self.height, self.scale, self.offset_x, self.offset_y)

    @property
    def negative_text(self) -> str:
        """The negative prompt with every way of saying "none" resolved to the empty string."""
        text = self.negative_prompt or ""
        return "" if text.strip().upper() == "NONE" else text


def all_names() -> list[str]:
    """Every option of `OutpaintRequest.placed`."""
    own = [field.name for field in dataclasses.fields(OutpaintRequest)]
    return [*own, *(name for name in sum(WAYS.values(), ()) if name not in own), "speed"]
