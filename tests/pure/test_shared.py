"""Threads share a loaded model: who is alone gets every core, who has company gets one; the pictures are equal."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from outpaint_engine import EngineOptions, OutpaintPipeline, OutpaintRequest, RequestError, SharedPipeline, shared

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

    model = SharedPipeline(named("alone"), 2, named("twin"))
    with model.steps(request_of) as first:
        steps = iter(first)
        next(steps)
        with model.steps(request_of) as second:
            next(steps)
            next(iter(second))
        next(steps)
    assert calls == ["alone", "twin", "twin", "alone"]


def test_the_warm_up_reaches_the_twin_too(toy: Toy) -> None:
    def broken(**_: Any) -> Any:
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        SharedPipeline(toy(), 2, toy(unet=broken)).warm_up(64)


@pytest.mark.parametrize(
    ("device", "asked", "threads"),
    [
        ("cpu", {"at_once": 1}, [None]),
        ("cpu", {"at_once": 4, "load_twice": False}, [None]),
        ("cpu", {"at_once": 2}, [None, 3]),
        ("cpu", {"at_once": 3}, [None, 2]),
        ("cpu", {"at_once": 9}, [None, 1]),
        ("cuda", {"at_once": 4}, [None]),
    ],
)
def test_the_twins_calls_leave_every_request_a_core(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: dict[str, Any], threads: list[int | None]
) -> None:
    loaded: list[int | None] = []

    def from_pretrained(*_: Any, options: EngineOptions, **__: Any) -> OutpaintPipeline:
        loaded.append(options.threads)
        pipeline = toy_pipeline()
        pipeline.models.unet.engine.device = device
        return pipeline

    monkeypatch.setattr(OutpaintPipeline, "from_pretrained", from_pretrained)
    monkeypatch.setattr(shared, "usable_cores", lambda: 4)
    with SharedPipeline.from_pretrained("toy", device=device, **asked):
        assert loaded == threads


def test_more_callers_than_may_run_at_once_wait_their_turn(request_of: OutpaintRequest) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def unet(**feeds: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        answer = toy_unet(**feeds)
        with lock:
            running -= 1
        return answer

    with SharedPipeline(toy_pipeline(), 2, toy_pipeline(unet=unet)) as pipe, ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(pipe, [request_of] * 6))) == 6
    assert most <= 2


def test_an_asyncio_service_runs_requests_in_threads(request_of: OutpaintRequest) -> None:
    async def service(pipe: SharedPipeline) -> list[bytes]:
        results = await asyncio.gather(*(asyncio.to_thread(pipe, request_of) for _ in range(3)))
        return [result.images[0].tobytes() for result in results]

    with SharedPipeline(toy_pipeline()) as pipe:
        assert len(set(asyncio.run(service(pipe)))) == 1


def test_fewer_than_one_request_at_once_is_refused(toy: Toy) -> None:
    with pytest.raises(RequestError, match="at_once must be a whole number from 1, not 0"):
        SharedPipeline(toy(), 0)
