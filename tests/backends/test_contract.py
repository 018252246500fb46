"""What every backend promises, on every one that is installed."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.engines import Backend, Engine, EngineOptions, Loading
from outpaint_engine.engines.table import find_backend
from outpaint_engine.errors import BackendUnavailable, EngineError, EngineSetError
from outpaint_engine.shapes import Bucket, shapes_to_prepare
from outpaint_engine.tensors import Array

Feeds = dict[str, Array]
MakeFeeds = Callable[..., Feeds]
FP32 = EngineOptions(precision="fp32")


@pytest.mark.parametrize("part", PARTS)
def test_an_engine_takes_and_gives_what_the_manifest_states(backend: Backend, tiny: EngineSet, part: str) -> None:
    artifact = tiny.artifact(part)
    with backend.load(Loading(tiny, part)) as engine:
        for specs, stated in ((engine.inputs, artifact.inputs), (engine.outputs, artifact.outputs)):
            found = {name: (str(spec.dtype), list(spec.shape)) for name, spec in specs.items()}
            assert found == {entry["name"]: (entry["dtype"], entry["shape"]) for entry in stated}
        assert (engine.backend, engine.device) == (backend.name, backend.device)


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("bf16", 0.05), ("fp16", 0.05)])
def test_the_answers_are_those_of_the_reference_or_the_precision_is_refused(
    backend: Backend, tiny: EngineSet, feeds: MakeFeeds, precision: str, error: float
) -> None:
    given = feeds()
    with find_backend("ort-cpu").load(Loading(tiny, "unet")) as reference:
        expected = reference.run(given)["out_sample"]
    try:
        engine = backend.load(Loading(tiny, "unet", EngineOptions(precision=precision)))
    except BackendUnavailable as refused:
        # In its own words: there is no such precision for this backend, this processor or this set.
        assert precision in str(refused) and precision != "fp32"
        return
    with engine:
        found = engine.run(given)["out_sample"]
        assert engine.precision == precision
    assert np.linalg.norm(found - expected) <= error * np.linalg.norm(expected)


def test_the_caller_owns_what_it_gets_and_keeps_what_it_gave(unet: Engine, feeds: MakeFeeds) -> None:
    given = feeds()
    first = unet.run(given)["out_sample"]
    copy = first.copy()
    second = unet.run(feeds(seed=1))["out_sample"]
    np.testing.assert_array_equal(first, copy)
    first[:] = 0
    assert not np.shares_memory(first, second) and second.any()
    for name, value in feeds().items():
        np.testing.assert_array_equal(given[name], value)


def test_a_feed_that_the_caller_changes_in_place_is_read_again(unet: Engine, feeds: MakeFeeds) -> None:
    given = feeds()
    unet.run(given)
    given["sample"] *= 0.5
    changed = unet.run(given)["out_sample"]
    np.testing.assert_array_equal(changed, unet.run({**feeds(), "sample": feeds()["sample"] * 0.5})["out_sample"])


def test_only_the_outputs_asked_for_are_given(backend: Backend, tiny: EngineSet) -> None:
    with backend.load(Loading(tiny, "text_encoder")) as engine:
        ids = {"input_ids": np.zeros((1, 77), np.int64)}
        assert engine.run(ids).keys() == engine.outputs.keys()
        assert engine.run(ids, ("last_hidden_state",)).keys() == {"last_hidden_state"}


WRONG: dict[str, Callable[[Feeds], Feeds]] = {
    "another element type": lambda given: {**given, "sample": given["sample"].astype(np.float64)},
    "another rank": lambda given: {**given, "sample": given["sample"][0]},
    "another number of channels": lambda given: {**given, "sample": given["sample"][:, :4]},
    "an input too few": lambda given: {"sample": given["sample"], "timestep": given["timestep"]},
    "an input too many": lambda given: {**given, "mask": given["sample"]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_feeds_are_an_error_that_names_engine_and_input(
    unet: Engine, backend: Backend, feeds: MakeFeeds, wrong: Callable[[Feeds], Feeds]
) -> None:
    with pytest.raises(EngineError, match=f"unet on {backend.name} takes .*sample"):
        unet.run(wrong(feeds()))
    assert np.isfinite(unet.run(feeds())["out_sample"]).all()


def test_a_closed_engine_says_so(backend: Backend, tiny: EngineSet, feeds: MakeFeeds) -> None:
    engine = backend.load(Loading(tiny, "unet", EngineOptions(precision="fp32")))
    engine.close()
    with pytest.raises(EngineError, match=f"unet on {backend.name} was closed"):
        engine.run(feeds())


def test_one_engine_takes_several_batches_and_canvas_sizes(unet: Engine, feeds: MakeFeeds) -> None:
    for rows, height, width in ((2, 8, 8), (3, 8, 16), (1, 16, 8), (2, 8, 8)):
        given = feeds(rows, height, width)
        whole = unet.run(given)["out_sample"]
        assert whole.shape == (rows, 4, height, width)
        alone = unet.run({name: value[:1] for name, value in given.items()})["out_sample"]
        np.testing.assert_allclose(whole[:1], alone, atol=1e-4)


def test_the_same_feeds_give_the_same_bits(unet: Engine, feeds: MakeFeeds) -> None:
    first = unet.run(feeds())["out_sample"]
    unet.run(feeds(seed=1))
    np.testing.assert_array_equal(unet.run(feeds())["out_sample"], first)


def test_threads_and_shapes_to_prepare_change_no_answer(
    backend: Backend, tiny: EngineSet, unet: Engine, feeds: MakeFeeds
) -> None:
    shapes = shapes_to_prepare(tiny, (Bucket(64, 64), Bucket(128, 64, 1)))["unet"]
    with backend.load(Loading(tiny, "unet", EngineOptions(precision="fp32", threads=1), shapes)) as engine:
        found, expected = engine.run(feeds())["out_sample"], unet.run(feeds())["out_sample"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_threads_may_share_an_engine_and_engines_may_run_at_once(
    backend: Backend, tiny: EngineSet, unet: Engine, feeds: MakeFeeds
) -> None:
    given = [feeds(seed=seed) for seed in range(4)]
    with backend.load(Loading(tiny, "unet", FP32)) as other, ThreadPoolExecutor(4) as pool:
        alone = [unet.run(each)["out_sample"] for each in given]
        for engines in ([unet] * 4, [unet, other] * 2):
            together = pool.map(lambda engine, each: engine.run(each)["out_sample"], engines, given)
            for expected, found in zip(alone, together, strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_a_graph_that_is_not_there_or_broken_is_an_error_that_names_the_file(
    backend: Backend, tiny: EngineSet, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(tiny.folder, folder)
    (folder / "engine_set.json").unlink()
    opened, graph = EngineSet.open(folder), folder / "unet" / "model.onnx"
    content = graph.read_bytes()
    graph.unlink()
    if damage == "cut off":
        graph.write_bytes(content[: len(content) // 2])
    with pytest.raises(EngineSetError, match=r"unet.model\.onnx"):
        backend.load(Loading(opened, "unet"))
