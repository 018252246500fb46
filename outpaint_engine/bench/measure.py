"""Runs an engine set through the iterator that users call, and keeps where the time went."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ..engine_set import EngineSet
from ..engines.timed import TimedEngine
from ..pipeline import OutpaintPipeline
from ..request import OutpaintRequest
from ..run import OutpaintRun
from .environment import peak_rss, read_environment
from .record import SCHEMA, BenchOptions, Measurement, Ran, Spread, Steps
from .starts import fresh_starts
from .workload import bench_request, loading

__all__ = ["STAGES", "Report", "measure", "measure_pipeline"]

STAGES = ("prepare", "text_encoder", "infill", "vae_encoder", "unet", "vae_decoder", "paste_back", "quality", "rest")
"""In the order in which they run; `rest` is everywhere."""
Report = Callable[[str, int, int], None]
"""Called with what goes on, and how much of how much is done."""


def _say_nothing(doing: str, done: int, of: int) -> None:
    """The report of a benchmark that nobody watches."""


class _Picture(NamedTuple):
    """Seconds of one request: in all, by stage, by UNet call, and inside the engine by part and call."""

    total: float
    stages: dict[str, float]
    steps: list[float]
    engines: dict[str, list[float]]


def measure(options: BenchOptions, report: Report = _say_nothing) -> Measurement:
    """Start fresh processes, then load the set in this one and time its pictures.

    Raises:
        EngineSetError, BackendUnavailable, RequestError: as a run with the same options would.
    """
    environment = read_environment()
    starts = fresh_starts(options, lambda done: report("starting afresh", done, options.starts))
    request = bench_request(options, EngineSet.open(options.engines, verify=False).native_size, 0)
    with OutpaintPipeline.from_pretrained(
        options.engines, device=options.device, options=loading(options, request), max_batch=options.batch
    ) as pipe:
        found = measure_pipeline(pipe, options, report)
    return replace(found, environment=environment, starts=starts)


def measure_pipeline(pipe: OutpaintPipeline, options: BenchOptions, report: Report = _say_nothing) -> Measurement:
    """Time the pictures of a loaded pipeline; its engines stay wrapped in `TimedEngine`, and no process is started."""
    environment = read_environment()
    clocks = _clocked(pipe)
    total = options.warmup + options.repeats
    pictures = []
    for number in range(total):

        def step_done(step: int, of: int, before: int = number) -> None:
            report("warming up" if before < options.warmup else "measuring", before * of + step, total * of)

        request = bench_request(options, pipe.models.engine_set.native_size, number)
        picture, run = _timed(pipe, request, clocks, step_done)
        pictures.append(picture)
    counted = pictures[options.warmup :]
    return Measurement(
        schema=SCHEMA,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options,
        ran=_ran(pipe, run, clocks["unet"]),
        environment=environment,
        picture=Spread.of(picture.total for picture in counted),
        stages={
            name: Spread.of(picture.stages[name] for picture in counted) for name in STAGES if name in counted[0].stages
        },
        engines={part: Spread.of(sum(picture.engines[part]) for picture in counted) for part in clocks},
        steps=_steps(counted),
        starts=None,
        peak_rss=peak_rss(),
    )


def _clocked(pipe: OutpaintPipeline) -> dict[str, TimedEngine]:
    models, clocks = pipe.models, {}
    for component in (models.text_encoder, models.vae_encoder, models.unet, models.vae_decoder):
        component.engine = clocks[component.part] = TimedEngine(component.engine)
    return clocks


def _timed(
    pipe: OutpaintPipeline,
    request: OutpaintRequest,
    clocks: dict[str, TimedEngine],
    step_done: Callable[[int, int], None],
) -> tuple[_Picture, OutpaintRun]:
    for clock in clocks.values():
        clock.seconds.clear()
    reporting = 0.0
    began = time.perf_counter()
    run = pipe.steps(request)
    prepared = time.perf_counter() - began
    for progress in run:
        paused = time.perf_counter()
        step_done(progress.step, progress.steps)
        reporting += time.perf_counter() - paused
    total = time.perf_counter() - began - reporting
    timings = run.result.timings
    stages = {"prepare": prepared, **timings.stages, "unet": sum(timings.steps)}
    stages["rest"] = total - sum(stages.values())
    engines = {part: list(clock.seconds) for part, clock in clocks.items()}
    return _Picture(total, stages, list(timings.steps), engines), run


def _steps(pictures: list[_Picture]) -> Steps:
    seconds = np.array([step for picture in pictures for step in picture.steps])
    engine = np.array([call for picture in pictures for call in picture.engines["unet"]])
    outside = seconds - engine
    share = float(np.median(outside / seconds))
    return Steps(Spread.of(seconds), Spread.of(engine), Spread.of(outside), round(share, 6))


def _ran(pipe: OutpaintPipeline, run: OutpaintRun, clock: TimedEngine) -> Ran:
    result, engine_set = run.result, pipe.models.engine_set
    return Ran(
        backend=clock.backend,
        device=result.device,
        precision=result.precision,
        engine_set=result.engine_set,
        source=engine_set.source["name"],
        synthetic=engine_set.synthetic,
        width=run.plan.placement.width,
        height=run.plan.placement.height,
        calls=len(result.timings.steps),
        rows=result.timings.rows[0],
    )
