"""A request is checked once, when it is made, and refused with a sentence."""

import math

import numpy as np
import pytest

from outpaint_engine import OutpaintRequest, Placement, RequestError

REFUSED = [
    ({"num_inference_steps": 0}, "num_inference_steps must be a whole number from 1 to 1000, not 0."),
    ({"num_inference_steps": 2.5}, "num_inference_steps must be a whole number"),
    ({"num_inference_steps": True}, "num_inference_steps must be a whole number"),
    ({"strength": 2}, "strength must be a number from 0 to 1, not 2."),
    ({"strength": 0}, "strength must be above 0"),
    ({"guidance_scale": math.nan}, "guidance_scale must be a number from 0 to 100, not nan."),
    ({"guidance_scale": math.inf}, "guidance_scale must be a number from 0 to 100, not inf."),
    ({"guidance_scale": 10**400}, "guidance_scale must be a number from 0 to 100"),
    ({"scale": 0}, "scale must be a number from 0.01 to 100, not 0."),
    ({"width": 500}, "width must be a multiple of 8, not 500: the nearest are 496 or 504."),
    ({"height": 3}, "height must be a multiple of 8, not 3: the nearest are 8."),
    ({"width": 10**6}, "width must be a whole number from 1 to 16384"),
    ({"mask_expand": -1}, "mask_expand must be a whole number from 0 to 256"),
    ({"seed": -2}, "seed must be a whole number from -1"),
    ({"seed": 2**63}, "seed must be a whole number"),
    ({"seed": 2**63 - 1, "num_images": 2}, "seed + num_images - 1 must be a whole number"),
    ({"prompt": "caf\udce9"}, "prompt has characters that are no valid Unicode"),
    ({"num_images": 0}, "num_images must be a whole number"),
    ({"scheduler": "magic"}, "scheduler must be one of DDIM, DPM Multi, "),
    ({"noise": "magic"}, "noise must be one of torch, torch-cuda, numpy; not 'magic'."),
    ({"infill": "magic"}, "infill must be one of auto, edge, noise, grey; not 'magic'."),
    ({"prompt": "x" * 10_001}, "prompt has 10001 characters; 10000 is the most. Shorten it."),
    ({"prompt_weighting": "maybe"}, "prompt_weighting must be one of auto, on, off; not 'maybe'."),
    ({"long_prompts": "cut"}, "long_prompts must be one of chunks, truncate; not 'cut'."),
    ({"clip_skip": 0}, "clip_skip must be a whole number from 1 to 100, not 0."),
    ({"prompt": 7}, "prompt must be text, not int."),
    ({"negative_prompt": 7}, "negative_prompt must be text, not int."),
    ({"guidance_rescale": 1.5}, "guidance_rescale must be a number from 0 to 1, not 1.5."),
    ({"guidance_interval": 0.5}, "guidance_interval must be two numbers from 0 to 1, not 0.5."),
    ({"guidance_interval": (0.2, 2)}, "the end of guidance_interval must be a number from 0 to 1, not 2."),
    ({"guidance_interval": (0.8, 0.2)}, "guidance_interval must not end before it begins: 0.8 is after 0.2."),
    ({"eta": 2}, "eta must be a number from 0 to 1"),
    ({"eta": 0.5, "scheduler": "Euler"}, "eta is for DDIM and TCD: leave it at 0 with Euler, not 0.5."),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED)
def test_a_field_outside_its_range_is_named_with_the_range(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        OutpaintRequest(image=None, **fields)
    assert str(refused.value).startswith(sentence)


def test_numbers_of_numpy_are_numbers() -> None:
    request = OutpaintRequest(image=None, num_inference_steps=np.int64(5), strength=np.float32(0.5))
    assert request.num_inference_steps == 5


def test_an_empty_prompt_is_legal() -> None:
    assert OutpaintRequest(image=None, prompt="").prompt == ""


@pytest.mark.parametrize("none", [None, "", "NONE", "none", " None "])
def test_every_way_of_saying_no_negative_prompt_means_none(none: str | None) -> None:
    assert OutpaintRequest(image=None, negative_prompt=none).negative_text == ""


def test_a_negative_prompt_is_kept_as_written() -> None:
    assert OutpaintRequest(image=None, negative_prompt="None of that").negative_text == "None of that"


UNKNOWN = [
    ("steps", "Did you mean num_inference_steps?"),
    ("mask_image", "Did you mean mask?"),
    ("generator", "Give seed=7 for torch.Generator().manual_seed(7)"),
    ("negative", "Did you mean negative_prompt?"),
    ("guidence_scale", "Did you mean guidance_scale?"),
    ("lft", "Did you mean left?"),
    ("zzz", "There are: image, prompt, "),
]


@pytest.mark.parametrize(("name", "advice"), UNKNOWN)
def test_an_unknown_option_is_refused_with_the_name_that_was_meant(name: str, advice: str) -> None:
    with pytest.raises(RequestError) as refused:
        OutpaintRequest.placed(image=None, **{name: 1})
    assert str(refused.value).startswith(f"There is no option {name!r}. ") and advice in str(refused.value)


def test_a_request_made_directly_names_what_was_meant_too() -> None:
    with pytest.raises(RequestError, match="There is no option 'steps'. Did you mean num_inference_steps?"):
        OutpaintRequest(image=None, steps=4)
    with pytest.raises(RequestError, match="left needs the picture's size"):
        OutpaintRequest(image=None, left=96)


def test_a_placement_may_be_said_in_three_ways_and_opens_the_picture_once(picture: np.ndarray) -> None:
    sides = OutpaintRequest.placed(image=picture, left=96, right=96, prompt="sea")
    assert (sides.width, sides.height, sides.offset_x, sides.prompt) == (256, 48, 96, "sea")
    assert sides.image.size == (64, 48)
    aspect = OutpaintRequest.placed(image=picture, aspect="16:9", anchor="left", scale=2.0)
    assert (aspect.width, aspect.height, aspect.scale) == (168, 96, 2.0)
    canvas = OutpaintRequest.placed(image=picture, width=128, height=64, scale=0.5, offset_x=8)
    assert canvas.placement == Placement(128, 64, 0.5, 8, 0) and canvas.image is picture


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"left": 9, "width": 128}, "in one way, not several"),
        ({"left": "9"}, "left must be a whole number"),
        ({"left": -9}, "left must be a whole number from 0"),
        ({"aspect": "wide"}, "aspect must be two numbers"),
        ({"aspect": "16:9", "anchor": "middle"}, "anchor must be one of"),
        ({"left": 9, "scale": "big"}, "scale must be a number"),
        ({"left": 17000}, "The canvas would be 17064x48, and a side has at most"),
    ],
)
def test_a_placement_that_cannot_be_is_refused_by_its_own_name(
    picture: np.ndarray, fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        OutpaintRequest.placed(image=picture, **fields)


def test_what_is_printed_of_a_request_leaves_its_picture_out(picture: np.ndarray) -> None:
    assert len(repr(OutpaintRequest(image=bytes(10_000)))) < 1000
