"""Steps in which the UNet is not run whole: which they are, what stands in for it, and who is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline, OutpaintRequest, RequestError
from outpaint_engine.denoise import LEVELS, Guidance, Reuse, forecast, guided
from outpaint_engine.request import SPEEDS
from outpaint_engine.samplers import SCHEDULERS

Toy = Callable[..., OutpaintPipeline]
WIDE: dict[str, Any] = {"width": 128, "height": 64, "offset_x": 32, "offset_y": 8, "seed": 1}
TEXT = np.zeros((1, 3, 2), np.float32)


@pytest.mark.parametrize(
    ("reuse", "calls", "guided", "whole"),
    [
        (Reuse(), 4, range(4), {0, 1, 2, 3}),
        (Reuse(2), 8, range(8), {0, 2, 4, 6, 7}),
        (Reuse(3), 10, range(10), {0, 3, 6, 9}),
        (Reuse(3), 9, range(0), {0, 3, 6, 8}),
        (Reuse(3), 1, range(1), {0}),
        # Guidance that begins later brings rows that no earlier call had.
        (Reuse(3), 9, range(4, 9), {0, 3, 4, 6, 7, 8}),
        (Reuse(3), 9, range(5), {0, 3, 6, 8}),
    ],
)
def test_every_nth_call_and_the_last_are_whole(reuse: Reuse, calls: int, guided: range, whole: set[int]) -> None:
    assert reuse.whole_calls(calls, guided) == whole


@pytest.mark.parametrize(("slope", "seen"), [(1.0, [0, 10, 20, 30]), (0.5, [0, 10, 15, 20]), (0.0, [0, 10, 10, 10])])
def test_a_forecast_goes_on_in_a_straight_line_over_timesteps(slope: float, seen: list[float]) -> None:
    def line(sample: np.ndarray, t: float, context: np.ndarray) -> np.ndarray:
        return np.full((2, 4, 1, 1), 100 - t, np.float32)

    predict = forecast(line, {0, 1}, slope)
    assert [float(predict(TEXT[:, None], t, TEXT)[0, 0, 0, 0]) for t in (100, 90, 80, 70)] == pytest.approx(seen)


def test_after_one_whole_call_its_output_is_used_again() -> None:
    predict = forecast(lambda sample, t, context: np.full((2, 4, 1, 1), t, np.float32), {0})
    assert [float(predict(TEXT[:, None], t, TEXT)[0, 0, 0, 0]) for t in (100, 90, 80)] == [100] * 3


def test_a_forecast_of_fewer_rows_is_the_prompts() -> None:
    def rows(sample: np.ndarray, t: float, context: np.ndarray) -> np.ndarray:
        return np.arange(len(sample), dtype=np.float32)[:, None, None, None] * np.float32(t)

    predict = forecast(rows, {0, 1})
    two = np.zeros((2, 4, 1, 1), np.float32)
    predict(two, 3, TEXT), predict(two, 2, TEXT)
    assert predict(two[:1], 1, TEXT).ravel().tolist() == [1]


def test_off_is_every_call_and_gives_the_same_picture_bit_for_bit(toy: Toy, picture: np.ndarray) -> None:
    plain, off = (toy()(image=picture, **WIDE, num_inference_steps=6, **fields) for fields in ({}, {"reuse": "off"}))
    assert np.array_equal(plain.latents, off.latents)
    assert off.timings.rows == [2] * 6 and not [note for note in off.notes if "reuse" in note]


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"reuse": "careful"}, [2, 0, 2, 0, 2, 0, 2, 2]),
        ({"reuse": "fast"}, [2, 0, 0, 2, 0, 0, 2, 2]),
        ({"reuse": Reuse(4, damping=0.5)}, [2, 0, 0, 0, 2, 0, 0, 2]),
        ({"reuse": "fast", "guidance_interval": (0.0, 0.5)}, [2, 0, 0, 2, 0, 0, 1, 1]),
        ({"reuse": "fast", "guidance_interval": (0.5, 1.0)}, [1, 0, 0, 1, 2, 0, 2, 2]),
        ({"reuse": "fast", "strength": 0.5}, [2, 0, 0, 2]),
    ],
)
def test_the_unet_runs_in_whole_calls_only_and_the_notes_say_how_many(
    toy: Toy, picture: np.ndarray, fields: dict[str, Any], rows: list[int]
) -> None:
    result = toy()(image=picture, **WIDE, num_inference_steps=8, **fields)
    assert result.timings.rows == rows
    whole = sum(row > 0 for row in rows)
    assert any(f"whole in {whole} of {len(rows)} calls" in note for note in result.notes)


@pytest.mark.parametrize("count", [2, 3])
def test_pictures_of_a_batch_are_forecast_without_mixing(toy: Toy, picture: np.ndarray, count: int) -> None:
    fields = {**WIDE, "num_inference_steps": 6, "reuse": "fast"}
    several = toy()(image=picture, **fields, num_images=count)
    for index, seed in enumerate(several.seeds):
        assert np.array_equal(several.latents[index], toy()(image=picture, **{**fields, "seed": seed}).latents[0])


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"guidance_every": 2}, [2, 1, 2, 1, 2, 2]),
        ({"guidance_every": 3}, [2, 1, 1, 2, 1, 2]),
        ({"guidance_every": 2, "guidance_interval": (0.34, 1.0)}, [1, 1, 2, 1, 2, 2]),
        ({"guidance_every": 2, "guidance_scale": 1.0}, [1] * 6),
    ],
)
def test_between_guided_calls_only_the_prompt_is_predicted(
    toy: Toy, picture: np.ndarray, fields: dict[str, Any], rows: list[int]
) -> None:
    result = toy()(image=picture, **WIDE, num_inference_steps=6, **fields)
    assert result.timings.rows == rows
    assert any("guidance_every" in note for note in result.notes) == (2 in rows)


def test_a_difference_that_lies_on_a_line_is_forecast_exactly() -> None:
    def line(sample: np.ndarray, t: float, context: np.ndarray) -> np.ndarray:
        return sample * np.float32(t) * context.mean(axis=(1, 2))[:, None, None, None]

    x = np.random.default_rng(0).standard_normal((1, 4, 2, 2), np.float32)
    cond, uncond = TEXT + 5, TEXT + 2
    runs = [guided(line, cond, uncond, Guidance(3.0, range(6), rescale=0.3, every=every)) for every in (1, 3)]
    for t in (60, 50, 40, 30, 20, 10):
        whole, between = (predict(x, t) for predict in runs)
        # After one whole call there is no line yet.
        assert t in (50, 40) or between == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", [scheduler.name for scheduler in SCHEDULERS if scheduler.random])
def test_samplers_that_draw_noise_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="reuse needs a sampler that draws no noise"):
        OutpaintRequest(image=None, scheduler=name, reuse="careful")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eta": 0.5, "reuse": "fast"}, "DDIM with eta does"),
        ({"scheduler": "Euler a", "guidance_every": 2}, "guidance_every needs a sampler"),
        ({"reuse": "careful", "guidance_every": 2}, "forecast twice"),
        ({"guidance_every": 0}, "guidance_every must be a whole number from 1 to 10"),
        ({"scheduler": "Heun", "reuse": "careful"}, "loses the picture with Heun"),
        ({"scheduler": "PNDM", "reuse": "fast"}, "Take one of DDIM, DPM Multi, DPM Single, Euler"),
        ({"scheduler": "UniPC", "guidance_every": 2}, "guidance_every loses the picture with UniPC"),
        ({"reuse": "quick"}, "reuse must be one of off, careful, fast; not 'quick'"),
    ],
)
def test_what_cannot_be_reused_is_refused_with_a_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        OutpaintRequest(image=None, **fields)


@pytest.mark.parametrize(
    "numbers", [{"every": 0}, {"every": 2.0}, {"every": 11}, {"damping": 2}, {"damping": True}, {"method": 1}]
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="must be (a|one of)"):
        Reuse(**numbers)


def test_the_levels_are_the_numbers_they_are_documented_as() -> None:
    assert {name: reuse.every for name, reuse in LEVELS.items()} == {"off": 1, "careful": 2, "fast": 3}


def test_a_speed_stands_for_its_options_and_what_is_stated_comes_first(picture: np.ndarray) -> None:
    for name, options in SPEEDS.items():
        named = OutpaintRequest.placed(image=picture, speed=name, seed=1)
        assert named == OutpaintRequest(image=named.image, seed=1, **options)
        assert OutpaintRequest.placed(image=picture, speed=name, num_inference_steps=9).num_inference_steps == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (OutpaintRequest.placed, "speed must be one of exact, balanced, fast; not 'quick'"),
        (OutpaintRequest, r"give it to pipe\(...\)"),
    ],
)
def test_a_speed_that_is_none_or_out_of_place_is_refused(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make(image=None, speed="quick")


def with_shallow(pipe: OutpaintPipeline) -> tuple[OutpaintPipeline, list[str]]:
    """A toy whose UNet's deep features are the text alone, with the shallow part that adds them; and its calls."""
    calls: list[str] = []

    def whole(sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray) -> dict[str, np.ndarray]:
        calls.append("whole")
        deep = encoder_hidden_states.mean(axis=(1, 2))[:, None, None, None]
        return {"out_sample": 0.3 * sample + deep, "deep_features": deep}

    def shallow(
        sample: np.ndarray, timestep: np.ndarray, encoder_hidden_states: np.ndarray, deep_features: np.ndarray
    ) -> dict[str, np.ndarray]:
        calls.append("shallow")
        return {"out_sample": 0.3 * sample + deep_features}

    inputs = {"sample": ("B", 4, "h", "w"), "timestep": ("B",), "encoder_hidden_states": ("B", "tokens", 4)}
    answer, deep = {"out_sample": ("B", 4, "h", "w")}, {"deep_features": ("B", 1, 1, 1)}
    engines = {
        "unet": FunctionEngine(whole, inputs, answer | deep),
        "shallow": FunctionEngine(shallow, inputs | deep, answer),
    }
    return OutpaintPipeline(pipe.models.with_engines(engines)), calls


@pytest.mark.parametrize("scheduler", ["DDIM", "DPM Multi"])
def test_the_shallow_part_runs_on_deep_features_where_it_is_asked_for(
    toy: Toy, picture: np.ndarray, scheduler: str
) -> None:
    pipe, calls = with_shallow(toy())
    fields = {**WIDE, "scheduler": scheduler, "num_inference_steps": 6, "guidance_interval": (0.0, 0.5)}
    exact = pipe(image=picture, **fields)
    made = len(calls)
    result = pipe(image=picture, **fields, reuse=Reuse(2, method="shallow"))
    assert ["whole" if row else "shallow" for row in result.timings.rows] == calls[made:]
    assert "shallow" in calls and any("in its shallow part" in note for note in result.notes)
    # These features do not change from step to step, so that nothing is lost.
    assert result.latents == pytest.approx(exact.latents, abs=1e-5)


def test_a_set_without_a_shallow_graph_says_so(toy: Toy, picture: np.ndarray) -> None:
    with pytest.raises(RequestError, match="needs a UNet that gives its deep features and a shallow graph"):
        toy()(image=picture, **WIDE, reuse=Reuse(2, method="shallow"))


@pytest.mark.parametrize(
    ("reuse", "guidance_scale", "slope", "kept"),
    [
        (Reuse(3), 7.5, 1.2, {1: 0.45, 2: 0.45}),
        (Reuse(3), 2.5, 1.0, {}),
        (Reuse(2), 7.5, 1.0, {}),
        (Reuse(3, damping=0.0), 7.5, 0.0, {}),
        (Reuse(3, method="shallow"), 7.5, 0.8, {}),
    ],
)
def test_over_several_calls_under_strong_guidance_less_of_the_difference_is_kept_unless_told(
    reuse: Reuse, guidance_scale: float, slope: float, kept: dict[int, float]
) -> None:
    assert reuse.slope(guidance_scale) == slope
    assert reuse.kept(4, {0, 3}, guidance_scale) == kept


def test_what_is_kept_of_a_difference_counts_from_the_latest_whole_call() -> None:
    def line(sample: np.ndarray, t: float, context: np.ndarray) -> np.ndarray:
        return np.float32(t) * context.mean(axis=(1, 2))[:, None, None, None]

    predict = guided(line, TEXT + 5, TEXT + 1, Guidance(3.0, range(3), kept={1: 0.5, 2: 0.0}))
    # Without the prompt 1 t, and 3 times a difference of 4 t: of its change since t = 10, half and then nothing.
    assert [float(predict(TEXT[:, None], t)[0, 0, 0, 0]) for t in (10, 20, 30)] == [130, 20 + 180, 30 + 120]
