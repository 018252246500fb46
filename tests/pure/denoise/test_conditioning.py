"""What the UNet is told of the prompts: chunks, weights, layers; and that nothing is encoded twice."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import EngineSetError, FunctionEngine, OutpaintPipeline, RequestError

from ...conftest import toy_unet

Toy = Callable[..., OutpaintPipeline]
WIDE: dict[str, Any] = {"width": 128, "height": 64, "offset_x": 32, "offset_y": 8, "num_inference_steps": 2, "seed": 1}


def text_engine(calls: list[np.ndarray], layers: int = 0, masked: bool = False) -> FunctionEngine:
    """Embeds a token as its number, padding as 0 if `masked`; `clip_skip.N` adds N. Notes each call's ids."""

    def function(input_ids: np.ndarray, attention_mask: np.ndarray | int = 1) -> dict[str, np.ndarray]:
        calls.append(input_ids)
        last = np.repeat((input_ids * attention_mask)[..., None] / 128, 4, axis=2).astype("float32")
        return {"last_hidden_state": last, **{f"clip_skip.{n}": last + n for n in range(1, layers + 1)}}

    outputs = ["last_hidden_state", *(f"clip_skip.{n}" for n in range(1, layers + 1))]
    names = ("input_ids", "attention_mask") if masked else ("input_ids",)
    return FunctionEngine(
        function,
        dict.fromkeys(names, ("B", 77)),
        {name: ("B", 77, 4) for name in outputs},
        dict.fromkeys(names, "int64"),
    )


def contexts(toy: Toy, picture: np.ndarray, **fields: Any) -> np.ndarray:
    """The text embeddings of the first UNet call, (rows, tokens, width)."""
    seen = []

    def unet(sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(encoder_hidden_states)
        return toy_unet(sample, timestep, encoder_hidden_states)

    text = text_engine([], fields.pop("layers", 0), fields.pop("masked", False))
    toy(unet=unet, text=text)(image=picture, **WIDE, **fields)
    return seen[0]


def test_a_repeated_prompt_costs_no_text_encoder_call(toy: Toy, picture: np.ndarray) -> None:
    calls: list[Any] = []
    pipe = toy(text=text_engine(calls))
    first = pipe(image=picture, **WIDE, prompt="sea", negative_prompt="sun")
    assert len(calls) == 2
    again = pipe(image=picture, **WIDE, prompt="sea", negative_prompt="sun")
    assert len(calls) == 2
    assert np.array_equal(first.latents, again.latents)
    pipe(image=picture, **WIDE, prompt="hills", negative_prompt="sun")
    assert len(calls) == 3
    # Another weight is another use of the same embeddings.
    pipe(image=picture, **WIDE, prompt="(sea:1.2)", negative_prompt="sun")
    assert len(calls) == 3


def test_what_is_kept_is_bounded(toy: Toy, picture: np.ndarray) -> None:
    calls: list[Any] = []
    encoder = toy(text=text_engine(calls)).models.text_encoder
    for number in (*range(100), 0):
        encoder.encode(np.full((1, 77), number))
    assert len(calls) == 101


def test_what_is_kept_cannot_be_changed(toy: Toy) -> None:
    kept = toy().models.text_encoder.encode(np.zeros((1, 77), np.int64))
    with pytest.raises(ValueError, match="read-only"):
        kept += 1


def test_threads_may_share_what_is_kept(toy: Toy) -> None:
    encoder = toy().models.text_encoder
    wrong = []

    def encode() -> None:
        for number in range(200):
            ids = np.full((1, 77), number % 90)
            if not np.allclose(encoder.encode(ids), number % 90 / 128):
                wrong.append(number)

    threads = [threading.Thread(target=encode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_both_prompts_have_as_many_chunks_as_the_longer(toy: Toy, picture: np.ndarray) -> None:
    context = contexts(toy, picture, prompt="x" * 80, negative_prompt="y")
    assert context.shape == (2, 154, 4)
    assert (context[1, [1, 75, 78, 82], 0] * 128).round().tolist() == [ord("x")] * 4
    # The negative prompt's second chunk is an empty one: start, end, padding.
    assert (context[0, [1, 77, 78, 79], 0] * 128).round().tolist() == [ord("y"), 1, 2, 3]


def test_a_negative_prompt_that_is_not_used_lengthens_nothing(toy: Toy, picture: np.ndarray) -> None:
    assert contexts(toy, picture, prompt="x", negative_prompt="y" * 80, guidance_scale=1.0).shape == (1, 77, 4)


def test_the_result_notes_how_many_chunks(toy: Toy, picture: np.ndarray) -> None:
    notes = toy()(image=picture, **WIDE, prompt="x" * 151).notes
    assert "The prompt has 151 tokens and is encoded in 3 chunks of 75." in notes


def test_a_unet_of_one_chunk_refuses_a_longer_prompt(toy: Toy, picture: np.ndarray) -> None:
    pipe = toy(tokens=77)
    assert pipe(image=picture, **WIDE, prompt="x" * 75).images
    with pytest.raises(RequestError, match="need 2 chunks of 75 tokens, and this engine set's UNet takes 1"):
        pipe(image=picture, **WIDE, prompt="x" * 76)


def test_weights_reach_the_unet_on_their_own_tokens(toy: Toy, picture: np.ndarray) -> None:
    plain, heavy = (
        contexts(toy, picture, prompt=f"a(b{weight})", prompt_weighting="on")[1, :, 0] for weight in ("", ":2")
    )
    ratio = heavy / plain
    assert ratio[2] / ratio[1] == pytest.approx(2 / 1.1, rel=1e-5)
    assert heavy.mean() == pytest.approx(plain.mean(), rel=1e-5)


@pytest.mark.parametrize(("skip", "added"), [(None, 0), (1, 1), (2, 2)])
def test_clip_skip_takes_an_earlier_layer(toy: Toy, picture: np.ndarray, skip: int | None, added: int) -> None:
    context = contexts(toy, picture, prompt="x", clip_skip=skip, layers=2)
    assert context[1, 1, 0] == pytest.approx(ord("x") / 128 + added)


@pytest.mark.parametrize(("both", "added"), [(False, 0), (True, 2)])
def test_clip_skip_is_for_the_prompt_alone_unless_both_are_asked_for(
    toy: Toy, picture: np.ndarray, both: bool, added: int
) -> None:
    context = contexts(toy, picture, prompt="x", negative_prompt="y", clip_skip=2, clip_skip_negative=both, layers=2)
    assert context[:, 1, 0] == pytest.approx([ord("y") / 128 + added, ord("x") / 128 + 2])


def test_a_text_encoder_that_takes_a_mask_is_told_what_is_padding(toy: Toy, picture: np.ndarray) -> None:
    plain, masked = (contexts(toy, picture, prompt="xy", negative_prompt="", masked=each) for each in (False, True))
    assert (plain[:, 4:] > 0).all()
    assert np.array_equal(masked[:, :2], plain[:, :2]) and (masked[1, 4:] == 0).all() and (masked[0, 2:] == 0).all()


def test_a_truncated_prompt_suits_a_unet_of_one_chunk(toy: Toy, picture: np.ndarray) -> None:
    result = toy(tokens=77)(image=picture, **WIDE, prompt="x" * 76, long_prompts="truncate")
    assert "The prompt has 76 tokens; the first 75 are read, the rest is left out." in result.notes


@pytest.mark.parametrize(
    ("layers", "skip", "sentence"),
    [
        (0, 1, "gives its last layer only.*Export the checkpoint again"),
        (2, 3, "clip_skip can be 1 to 2 with this engine set"),
    ],
)
def test_a_layer_that_the_engine_set_does_not_give_is_refused(
    toy: Toy, picture: np.ndarray, layers: int, skip: int, sentence: str
) -> None:
    with pytest.raises(EngineSetError, match=sentence):
        contexts(toy, picture, clip_skip=skip, layers=layers)


def test_only_the_output_that_is_used_is_asked_for(toy: Toy, picture: np.ndarray) -> None:
    asked = []
    engine = text_engine([], layers=2)
    run = engine.run
    engine.run = lambda feeds, wanted=None: asked.append(tuple(wanted)) or run(feeds, wanted)  # type: ignore[method-assign]
    toy(text=engine)(image=picture, **WIDE, guidance_scale=1.0)
    assert asked == [("last_hidden_state",)]
