"""The body of AUTOMATIC1111's `img2img`: which fields are honoured, and which are taken at a neutral value only.

Names, defaults and meanings: `modules/processing.py` and `modules/sd_samplers_kdiffusion.py` of its web UI.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from ...canvas import Placement
from ...request import MAX_SEED
from ...samplers import SCHEDULERS, find_scheduler
from ..configuration import Configuration
from ..pictures.decoding import Decoded, Mask
from ..pictures.intake import picture_from
from ..queue.orders import Order
from ..refusals import InputRefused
from .caller import Sent
from .fields import checked, refused
from .placing import fitted, settings
from .schema import Asked, json_object

__all__ = ["DOOR", "SAMPLERS", "SCHEDULES", "fields_model", "read"]

DOOR = "automatic1111"
MAX_PICTURES = 16
THEIR_NAMES = {"DPM Multi": "DPM++ 2M", "DPM Single": "DPM++ 2S", "PNDM": "PLMS"}
SAMPLERS = {THEIR_NAMES.get(sampler.name, sampler.name): sampler.name for sampler in SCHEDULERS}
"""Their names of samplers, and ours."""
SCHEDULES = {"automatic": "", "uniform": "", "karras": " Karras", "exponential": " exponential", "beta": " beta"}
OWN_SCHEDULES = {"DPM Multi": "karras", "DPM2": "karras", "DPM2 a": "karras", "DPM++ 2M SDE": "exponential"}
"""What their "automatic" is for each sampler; uniform where nothing is said."""
BLUR_TO_EXPAND = 2
"""A border of 2 sigma on each side is what their blur of the mask changes."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("inpainting_fill", "subseed_strength"), (0,)),
    **dict.fromkeys(("s_churn", "s_tmax", "s_tmin", "s_min_uncond", "refiner_switch_at"), (0, None)),
    **dict.fromkeys(("s_noise", "initial_noise_multiplier"), (1, None)),
    **dict.fromkeys(("mask_blur_x", "mask_blur_y"), (4, None)),
    **dict.fromkeys(("seed_resize_from_h", "seed_resize_from_w"), (-1, 0)),
    **dict.fromkeys(("restore_faces", "tiling"), (False, None)),
    **dict.fromkeys(("do_not_save_samples", "do_not_save_grid", "save_images", "include_init_images"), (False,)),
    **dict.fromkeys(("mask_round", "override_settings_restore_afterwards", "send_images"), (True,)),
    **dict.fromkeys(("override_settings", "comments"), ({}, None)),
    **dict.fromkeys(("refiner_checkpoint", "force_task_id", "infotext", "script_name"), ("", None)),
    **dict.fromkeys(("latent_mask", "firstpass_image"), (None,)),
    "inpaint_full_res_padding": (0, 32),
    "image_cfg_scale": (1.5, None),
    "subseed": (-1,),
    "styles": ([], None),
    "script_args": ([],),
    "alwayson_scripts": ({},),
    "disable_extra_networks": (False,),
}
"""What clients send with one of these values, which ask for nothing; no other can be honoured."""


def _only(values: tuple[Any, ...]) -> Any:
    """A field that has one of these values."""

    def check(value: Any) -> Any:
        if value not in values:
            shown = " or ".join(map(json.dumps, values))
            raise ValueError(f"cannot be honoured here: send {shown} or leave it out")
        return value

    return Annotated[Any, AfterValidator(check)]


def fields_model(c: Configuration) -> type[BaseModel]:
    """The fields within these limits; what is not among them is refused by name."""
    text = Annotated[str, Field(max_length=c.max_prompt)]
    side = Annotated[int, Field(ge=8, le=max(c.canvas_sides))]
    count = Annotated[int, Field(ge=1, le=MAX_PICTURES)]

    class Fields(BaseModel):
        model_config = ConfigDict(extra="forbid")
        init_images: Annotated[list[str], Field(min_length=1, max_length=1)]
        mask: str | None = None
        inpainting_mask_invert: Literal[0, 1] = 0
        mask_blur: Annotated[int, Field(ge=0, le=c.max_mask_expand // BLUR_TO_EXPAND)] = 4
        inpaint_full_res: bool = True
        resize_mode: Literal[0, 1, 2] = 0
        denoising_strength: Annotated[float, Field(ge=c.strength[0], le=c.strength[1])] = 0.75
        prompt: text = ""
        negative_prompt: text = ""
        seed: Annotated[int, Field(ge=-1, le=MAX_SEED - MAX_PICTURES)] = -1
        steps: Annotated[int, Field(ge=1, le=c.steps[1])] = 50
        cfg_scale: Annotated[float, Field(ge=c.guidance_scale[0], le=c.guidance_scale[1])] = 7.0
        width: side = 512
        height: side = 512
        batch_size: count = 1
        n_iter: count = 1
        sampler_name: str | None = None
        sampler_index: str | None = None
        scheduler: str | None = None
        eta: Annotated[float, Field(ge=0, le=1)] | None = None

    neutral: dict[str, Any] = {name: (_only(values), values[0]) for name, values in NEUTRAL.items()}
    return create_model("Img2Img", __base__=Fields, **neutral)


def read(model: type[BaseModel], limits: Configuration, sent: Sent) -> Asked:
    """Read a body.

    Raises:
        Refusal: the sentence names the field.
    """
    given = json_object(sent.body, "init_images and prompt")
    fields: Any = checked(model, given)
    sampler = _sampler(fields)
    eta = _eta(fields, sampler)
    count = fields.batch_size * fields.n_iter
    if count > MAX_PICTURES:
        raise refused("n_iter", f"times batch_size must be at most {MAX_PICTURES} pictures, not {count}.")
    picture = picture_from(fields.init_images[0], limits, "init_images")
    mask = None
    if fields.mask:
        painted: Any = "black" if fields.inpainting_mask_invert else "white"
        mask = Mask(picture_from(fields.mask, limits, "mask").content, painted)
    chosen = settings(
        limits,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        scheduler=sampler,
        num_inference_steps=fields.steps,
        width=fields.width // 8 * 8,
        height=fields.height // 8 * 8,
        strength=fields.denoising_strength,
        guidance_scale=fields.cfg_scale,
        seed=fields.seed,
        mask_expand=fields.mask_blur * BLUR_TO_EXPAND,
        window=bool(mask) and fields.inpaint_full_res,
        **({"eta": eta} if eta is not None else {}),
    )
    order = Order(picture.content, chosen, base64=True, format="png", door=DOOR)
    print_ = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    return Asked(order, print_, mask, count, partial(_placed, fields.resize_mode, limits))


def _placed(resize_mode: int, limits: Configuration, order: Order, picture: Decoded) -> Order:
    width, height = order.fields["width"], order.fields["height"]
    scale = min(width / picture.size[0], height / picture.size[1])
    if resize_mode != 2 and not all(map(_about, Placement(width, height, scale).scaled(picture.size), (width, height))):
        raise refused(
            "resize_mode",
            f"{resize_mode} would stretch or crop the picture of {picture.size[0]}x{picture.size[1]} to "
            f"{width}x{height}: send 2, which paints the rest, or sides of the picture's shape.",
        )
    return fitted(order, picture, (width, height), limits)


def _about(side: int, wanted: int) -> bool:
    return math.isclose(side, wanted, abs_tol=1)


def _sampler(fields: Any) -> str:
    """Our name of their sampler and schedule; a sampler may have the schedule behind its name, as it once had."""
    name = fields.sampler_name or fields.sampler_index or "Euler"
    schedule = (fields.scheduler or "automatic").lower()
    found = find_scheduler(name)
    if found is None:
        raise refused("sampler_name", f"must be one of {', '.join(SAMPLERS)}, not {name!r:.40}.")
    if schedule not in SCHEDULES:
        raise refused("scheduler", f"must be one of {', '.join(SCHEDULES)}, not {fields.scheduler!r:.40}.")
    if schedule == "automatic":
        schedule = OWN_SCHEDULES.get(found.name, "uniform")
    spread = find_scheduler(found.name + SCHEDULES[schedule])
    if spread is None:
        raise refused("scheduler", f"{schedule} does not go with {name}: send automatic or uniform.")
    return spread.name


def _eta(fields: Any, name: str) -> float | None:
    """For samplers that take it; the ancestral ones have always 1, which clients send with every other too."""
    sampler = find_scheduler(name)
    if sampler is not None and sampler.takes_eta:
        return float(fields.eta or 0)
    if fields.eta not in (None, 1):
        raise InputRefused(sentence="eta can be honoured for DDIM and TCD only: leave it out.", field="eta")
    return None
