"""What a benchmark counts, on a toy model: which calls, which stages, and that nothing is lost or counted twice."""

import json
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline, RequestError
from outpaint_engine.bench import BenchOptions, Measurement, measure_pipeline
from outpaint_engine.bench.record import SCHEMA, Gpu, Spread, Starts
from outpaint_engine.bench.table import table
from outpaint_engine.bench.workload import bench_request
from outpaint_engine.engines.timed import TimedEngine

OPTIONS = BenchOptions(width=64, height=64, steps=3, warmup=1, repeats=2)
Toy = Callable[..., OutpaintPipeline]


@pytest.fixture
def found(toy: Toy) -> Measurement:
    return measure_pipeline(toy(9), OPTIONS)


def test_only_pictures_after_the_warm_up_are_counted(found: Measurement) -> None:
    assert len(found.picture.values) == 2
    assert len(found.steps.seconds.values) == 2 * found.ran.calls == 6


def test_stages_add_up_to_the_picture(found: Measurement) -> None:
    for number, whole in enumerate(found.picture.values):
        assert sum(spread.values[number] for spread in found.stages.values()) == pytest.approx(whole, abs=1e-5)


def test_a_step_is_what_the_engine_took_and_what_is_outside(found: Measurement) -> None:
    steps = found.steps
    apart = np.array(steps.engine.values) + np.array(steps.outside.values)
    assert apart == pytest.approx(np.array(steps.seconds.values), abs=1e-6)
    assert min(steps.outside.values) > 0 and 0 < steps.outside_share < 1


def test_engines_are_part_of_their_stages(found: Measurement) -> None:
    assert set(found.engines) == {"text_encoder", "vae_encoder", "unet", "vae_decoder"}
    for part, spread in found.engines.items():
        assert 0 < spread.p50 <= found.stages[part].p50


@pytest.mark.parametrize(("channels", "infill"), [(4, True), (9, False)])
def test_the_fill_is_a_stage_where_the_unet_needs_one(toy: Toy, channels: int, infill: bool) -> None:
    assert ("infill" in measure_pipeline(toy(channels), OPTIONS).stages) is infill


def test_both_texts_of_every_picture_are_encoded_anew(toy: Toy) -> None:
    calls = []

    def encode(input_ids: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(1)
        return {"last_hidden_state": np.zeros((1, 77, 4), np.float32)}

    text = FunctionEngine(encode, {"input_ids": (1, 77)}, {"last_hidden_state": (1, 77, 4)}, {"input_ids": "int64"})
    measure_pipeline(toy(text=text), OPTIONS)
    assert len(calls) == 3 * 2


def test_pictures_that_share_a_call_are_told_by_its_rows(toy: Toy) -> None:
    pipe = toy(9)
    pipe.max_batch = 2
    assert measure_pipeline(pipe, replace(OPTIONS, batch=2)).ran.rows == 4
    assert measure_pipeline(toy(9), replace(OPTIONS, guidance_scale=1.0)).ran.rows == 1


def test_every_step_is_reported(toy: Toy) -> None:
    seen: list[tuple[str, int, int]] = []
    measure_pipeline(toy(9), OPTIONS, lambda *report: seen.append(report))
    assert seen == [("warming up" if step <= 3 else "measuring", step, 9) for step in range(1, 10)]


def test_a_failing_call_is_timed_too() -> None:
    def fail(x: np.ndarray) -> dict[str, np.ndarray]:
        raise ValueError

    engine = TimedEngine(FunctionEngine(fail, {"x": (1,)}, {"y": (1,)}))
    with pytest.raises(ValueError):
        engine.run({"x": np.zeros(1)})
    assert len(engine.seconds) == 1


def test_percentiles_are_of_all_values_and_values_keep_their_order() -> None:
    spread = Spread.of([3.0, 1.0, 2.0, 4.0, 101.0])
    assert (spread.p50, spread.values) == (3.0, (3.0, 1.0, 2.0, 4.0, 101.0))
    assert spread.p90 == pytest.approx(62.2) and spread.p99 == pytest.approx(97.12)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (64, 32), (1000, 8)])
def test_the_request_fits_any_canvas(width: int, height: int) -> None:
    request = bench_request(BenchOptions(width=width, height=height), 512, 0)
    assert (request.width, request.height) == (width, height)


@pytest.mark.parametrize(("field", "value"), [("batch", 0), ("warmup", -1), ("repeats", 0), ("starts", -1)])
def test_a_count_out_of_range_is_refused(field: str, value: int) -> None:
    with pytest.raises(RequestError, match=f"{field} must be a whole number from"):
        BenchOptions(**{field: value})


def complete(found: Measurement) -> Measurement:
    """With the parts that only a machine with a card and a fresh process give."""
    gpu = Gpu("NVIDIA X", "999.1", 2**30, "1980", "[N/A]")
    starts = Starts(*[Spread.of([1.5])] * 3, peak_rss=(10**9,), peak_device=(3 * 10**9,))
    return replace(found, environment=replace(found.environment, gpus=(gpu,)), starts=starts)


def test_a_line_of_json_holds_every_field_under_its_own_name(found: Measurement) -> None:
    line = complete(found).to_json()
    content = json.loads(line)
    assert "\n" not in line and set(content) == {field.name for field in fields(Measurement)}
    assert content["schema"] == SCHEMA and content["options"]["repeats"] == 2
    assert content["picture"]["values"] == list(found.picture.values) and content["environment"]["gpus"][0]["driver"]


def test_the_table_names_every_stage_the_card_and_the_fresh_process(found: Measurement) -> None:
    text = "\n".join(table(complete(found)))
    for words in (
        "text encoder",
        "VAE encode",
        "UNet, all steps",
        "outside all engines",
        "NVIDIA X",
        "3.00 GB",
        "1500 ms",
    ):
        assert words in text
