"""Requests share the loaded model: who is alone gets every core, who has company gets one; the pictures are equal."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outpaint_engine import OutpaintPipeline, OutpaintRequest
from outpaint_engine.engines import EngineOptions
from outpaint_engine.service import sharing
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.sharing import SharedModel, load_shared

from ..conftest import toy_pipeline, toy_unet

Toy = Callable[..., OutpaintPipeline]


@pytest.fixture
def request_of(picture: np.ndarray) -> OutpaintRequest:
    return OutpaintRequest(image=picture, width=64, height=64, scale=0.5, num_inference_steps=4, seed=3)


def test_a_run_is_on_the_twin_for_as_long_as_it_has_company(request_of: OutpaintRequest) -> None:
    calls: list[str] = []

    def named(name: str) -> OutpaintPipeline:
        def unet(**feeds: Any) -> Any:
            calls.append(name)
            return toy_unet(**feeds)

        return toy_pipeline(unet=unet)

    model = SharedModel(named("alone"), 2, named("twin"))
    with model.run(request_of) as first:
        steps = iter(first)
        next(steps)
        with model.run(request_of) as second:
            next(steps)
            next(iter(second))
        next(steps)
    assert calls == ["alone", "twin", "twin", "alone"]


def test_the_warm_up_reaches_the_twin_too(toy: Toy) -> None:
    def broken(**_: Any) -> Any:
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        SharedModel(toy(), 2, toy(unet=broken)).warm_up(64)


@pytest.mark.parametrize(
    ("device", "changes", "threads"),
    [
        ("cpu", {"workers": 1}, [None]),
        ("cpu", {"workers": 4, "load_twice": False}, [None]),
        ("cpu", {"workers": 2}, [None, 3]),
        ("cpu", {"workers": 3}, [None, 2]),
        ("cpu", {"workers": 9}, [None, 1]),
        ("cuda", {"workers": 4}, [None]),
    ],
)
def test_the_twins_calls_leave_every_request_a_core(
    monkeypatch: pytest.MonkeyPatch, device: str, changes: dict[str, Any], threads: list[int | None]
) -> None:
    loaded: list[int | None] = []

    @contextmanager
    def from_pretrained(*_: Any, options: EngineOptions = EngineOptions(), **__: Any) -> Any:  # noqa: B008
        loaded.append(options.threads)
        pipeline = toy_pipeline()
        pipeline.models.unet.engine.device = device
        yield pipeline

    monkeypatch.setattr(sharing.OutpaintPipeline, "from_pretrained", from_pretrained)
    monkeypatch.setattr(sharing, "usable_cores", lambda: 4)
    with load_shared("toy", device, replace(Configuration(), **changes)):
        assert loaded == threads


def test_on_the_demo_what_runs_together_equals_what_runs_alone(picture: np.ndarray) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra `cpu`")
    requests = [
        OutpaintRequest(image=picture, prompt="day hills", width=128, height=128, num_inference_steps=4, seed=seed)
        for seed in range(4)
    ]
    with load_shared("demo", "cpu", Configuration(workers=4)) as model:

        def painted(request: OutpaintRequest) -> bytes:
            with model.run(request) as run:
                for _ in run:
                    pass
            return run.result.images[0].tobytes()

        alone = [painted(request) for request in requests]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(painted, requests)) == alone
