"""What a request's `safety` does to a run, on a model and a checker of a few lines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from outpaint_engine import EngineOptions, EngineSet, FunctionEngine, OutpaintPipeline, RequestError, SafetyError
from outpaint_engine.components import VaeDecoder
from outpaint_engine.engine_set import Artifact
from outpaint_engine.engines import table
from outpaint_engine.safety import SafetyChecker, checker

from ...conftest import toy_pipeline
from ...toy_checker import SIDE, toy_checker

WIDE: dict[str, Any] = {"width": 128, "height": 64, "offset_x": 0, "num_inference_steps": 2, "seed": 3}
RED, GREY = np.full((64, 64, 3), (255, 0, 0), np.uint8), np.full((64, 64, 3), 127, np.uint8)


def painting(colour: tuple[float, float, float]) -> OutpaintPipeline:
    """A pipeline that paints in one colour, in [-1, 1]."""
    plain = toy_pipeline(safety_checker=toy_checker())

    def decode(latent_sample: np.ndarray) -> dict[str, np.ndarray]:
        rows, _, height, width = latent_sample.shape
        flat = np.float32(colour)[None, :, None, None]
        return {"sample": np.broadcast_to(flat, (rows, 3, 8 * height, 8 * width)).copy()}

    decoder = FunctionEngine(decode, {"latent_sample": ("B", 4, "h", "w")}, {"sample": ("B", 3, "H", "W")})
    models = plain.models._replace(vae_decoder=VaeDecoder(decoder, 1.0))
    return OutpaintPipeline(models, safety_checker=plain.safety_checker)


def test_what_was_painted_is_flagged_though_the_middle_of_the_picture_is_not() -> None:
    result = painting((1, -1, -1))(image=GREY, **WIDE, color_match=False, safety="flag")
    assert [each.flagged for each in result.safety] == [True]
    assert result.safety[0].concepts == (0,)
    assert result.notes[-1] == "The safety checker flagged the picture of seed 3."
    assert np.asarray(result.images[0])[:, 100:].mean(axis=(0, 1))[0] > 250, "the picture itself is given as it is"


def test_a_picture_that_is_like_no_concept_is_not_flagged() -> None:
    result = painting((0, 0, 0))(image=GREY, **WIDE, safety="flag", num_images=2)
    assert [each.flagged for each in result.safety] == [False, False]
    assert not any("flagged" in note for note in result.notes)
    assert result.timings.stages["safety_checker"] > 0


def test_a_flagged_picture_is_refused_where_the_request_says_so() -> None:
    run = painting((1, -1, -1)).steps(image=GREY, **WIDE, color_match=False, safety="refuse")
    with pytest.raises(SafetyError, match=r"flagged 1 of 1 pictures \(seed 3\), so none is given\. Take another seed"):
        list(run)


@pytest.mark.parametrize("more", [{"window": True}, {"detail": "on", "width": 256, "height": 128}], ids=str)
def test_every_way_to_paint_is_looked_at(more: dict[str, Any]) -> None:
    result = painting((1, -1, -1))(image=GREY, **{**WIDE, **more}, color_match=False, safety="flag")
    assert [each.flagged for each in result.safety] == [True]


def test_unless_it_is_asked_for_nothing_of_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> SafetyChecker:
        raise AssertionError("the checker was loaded")

    monkeypatch.setattr(SafetyChecker, "open", refuse)
    assert toy_pipeline()(image=GREY, **WIDE).safety == ()


def test_a_set_without_a_checker_names_the_command_that_makes_one() -> None:
    with pytest.raises(RequestError, match="outpaint-export onnx SOURCE .* --safety-checker CHECKPOINT"):
        toy_pipeline().steps(image=GREY, **WIDE, safety="flag")


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(RequestError, match="safety must be one of off, flag, refuse; not 'blacken'"):
        toy_pipeline().steps(image=GREY, **WIDE, safety="blacken")


@pytest.mark.parametrize(("size", "squares"), [((64, 64), 1), ((128, 64), 3), ((64, 200), 5), ((65, 64), 1)])
def test_squares_cover_a_picture_from_end_to_end(size: tuple[int, int], squares: int) -> None:
    image = Image.fromarray(np.indices(size[::-1]).sum(axis=0).astype(np.uint8)).convert("RGB")
    found = [each[0, 0] for each in toy_checker().preparation.squares(image)]
    assert [each.shape for each in found] == [(SIDE, SIDE)] * squares
    darkest, brightest = min(each.min() for each in found), max(each.max() for each in found)
    assert darkest * 255 < 10
    assert brightest * 255 > sum(size) - 22


def test_special_care_makes_the_rest_stricter() -> None:
    judge = toy_checker().concepts.judge
    plain, careful = judge(np.float32([0.895, 0.446, 0])), judge(np.float32([0.43, 0, 0.95]))
    assert plain.scores == (pytest.approx(-0.005, abs=1e-6),)
    assert not plain.flagged
    assert careful.special_scores[0] > 0
    assert careful.scores[0] == pytest.approx(0.43 / np.hypot(0.43, 0.95) - 0.9 + 0.01, abs=1e-3)


def test_beside_plans_it_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(table, "find_backend", lambda name: asked.append(name) or _Backend(name))
    monkeypatch.setattr(checker, "_read", lambda _: (toy_checker().preparation, toy_checker().concepts))
    opened = toy_pipeline().models.engine_set
    artifact = {"part": "safety_checker", "format": "onnx", "file": "x", "precision": "fp32"}
    engine_set = EngineSet(**{**vars(opened), "artifacts": (Artifact(**artifact),)})
    SafetyChecker.open(engine_set, "tensorrt", EngineOptions())
    assert asked == ["tensorrt", "ort-cpu"]


class _Backend:
    def __init__(self, name: str) -> None:
        self.format = "tensorrt" if name == "tensorrt" else "onnx"

    def load(self, _: Any) -> FunctionEngine:
        return toy_checker().engine  # type: ignore[return-value]
