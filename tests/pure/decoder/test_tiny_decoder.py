"""What a request's `decoder` does to a run, on decoders of a few lines."""

from typing import Any

import numpy as np
import pytest

from outpaint_engine import FunctionEngine, OutpaintPipeline, OutpaintRequest, RequestError, SharedPipeline, pipeline
from outpaint_engine.components import TINY_DECODER
from outpaint_engine.engines import Engine
from outpaint_engine.recipe import provenance_of

from ...conftest import toy_decoder, toy_pipeline

GREY = np.full((64, 64, 3), 127, np.uint8)
WIDE: dict[str, Any] = {"image": GREY, "width": 128, "height": 64, "num_inference_steps": 2, "seed": 3}


def negative(latent_sample: np.ndarray) -> dict[str, np.ndarray]:
    return {"sample": -toy_decoder(latent_sample)["sample"]}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A tiny decoder that every set has."""
    made = FunctionEngine(negative, {"latent_sample": ("B", 4, "h", "w")}, {"sample": ("B", 3, "H", "W")})
    monkeypatch.setattr(pipeline, "load_optional", lambda *_: made)
    return made


@pytest.mark.parametrize("more", [{}, {"window": True}, {"wrap": "x"}, {"detail": "on", "width": 256}], ids=str)
def test_however_a_canvas_is_painted_the_tiny_decoder_makes_the_picture(engine: Engine, more: dict[str, Any]) -> None:
    pipe, fields = toy_pipeline(), {**WIDE, **more, "color_match": False}
    full, tiny = pipe(**fields), pipe(**fields, decoder="tiny")
    assert np.array_equal(full.latents, tiny.latents)
    painted = full.plan.painted_share == 1
    one, other = (np.asarray(result.images[0]).astype(int)[painted] for result in (full, tiny))
    if "detail" not in more:
        assert np.abs(one + other - 255).max() <= 1
    assert not np.array_equal(one, other)
    assert "vae_decoder" in tiny.timings.stages
    (note,) = set(tiny.notes) - set(full.notes)
    assert note.startswith("decoder: the engine set's tiny one, on python, makes the picture of the latents")
    assert pipe(**fields).images[0].tobytes() == full.images[0].tobytes()


def test_the_file_says_it() -> None:
    request = OutpaintRequest(**WIDE, decoder="tiny")
    said = provenance_of(request, toy_pipeline()(**WIDE))
    assert said.request["decoder"] == "tiny" and "VAE Decoder: TAESD" in said.parameters


def test_previews_are_made_by_the_decoder_that_is_asked_for(engine: Engine) -> None:
    pipe = toy_pipeline()
    before, _ = pipe.steps(**WIDE)
    with pytest.raises(RequestError, match=r"call load_tiny_decoder\(\) of the pipeline before the run"):
        before.preview(decoded="tiny")
    pipe.load_tiny_decoder()
    after, _ = pipe.steps(**WIDE)
    full, tiny = (np.asarray(after.preview(decoded=name)).astype(int) for name in (True, "tiny"))
    assert np.abs(full + tiny - 255).max() <= 1
    of_tiny_run, _ = pipe.steps(**WIDE, decoder="tiny")
    assert np.array_equal(np.asarray(of_tiny_run.preview(decoded=True)), tiny)


def test_threads_that_share_a_model_load_it_once_and_close_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Engine] = []
    monkeypatch.setattr(FunctionEngine, "close", lambda self: closed.append(self))
    with SharedPipeline(toy_pipeline(), 2, toy_pipeline()) as shared:
        assert shared(**WIDE, decoder="tiny").notes and shared.load_tiny_decoder().engine is engine
    assert closed.count(engine) == 1


def test_unless_it_is_asked_for_nothing_of_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutpaintPipeline, "load_tiny_decoder", lambda _: pytest.fail("it was loaded"))
    assert TINY_DECODER not in toy_pipeline().models.engines and toy_pipeline()(**WIDE).images


def test_a_set_without_one_names_the_command_that_makes_one() -> None:
    with pytest.raises(RequestError, match="outpaint-export onnx SOURCE OUT --tiny-decoder TAESD"):
        toy_pipeline().steps(**WIDE, decoder="tiny")
    with pytest.raises(RequestError, match="decoder must be one of full, tiny; not 'taesd'"):
        toy_pipeline().steps(**WIDE, decoder="taesd")
