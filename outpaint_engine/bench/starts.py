"""Starts fresh processes that load an engine set and paint one picture, and times them from outside."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import IO, NamedTuple, Self

from .. import errors
from ..errors import EngineError
from .environment import device_memory_in_use
from .record import BenchOptions, Spread, Starts

__all__ = ["fresh_starts"]

POLL_SECONDS = 0.2


class _Start(NamedTuple):
    """Seconds to each milestone, the peak resident size, and the most the device held beyond what it held before."""

    imported: float
    ready: float
    first_picture: float
    peak_rss: int
    peak_device: int | None


def fresh_starts(options: BenchOptions, report: Callable[[int], None]) -> Starts | None:
    """Start `options.starts` processes, one after the other, and `report` how many are done; None for none.

    Raises:
        OutpaintError: a process failed; kind and message are its own.
    """
    found: list[_Start] = []
    for number in range(options.starts):
        report(number)
        found.append(_fresh_start(options))
    if not found:
        return None
    devices = [start.peak_device for start in found if start.peak_device is not None]
    return Starts(
        imported=Spread.of(start.imported for start in found),
        ready=Spread.of(start.ready for start in found),
        first_picture=Spread.of(start.first_picture for start in found),
        peak_rss=tuple(start.peak_rss for start in found),
        peak_device=tuple(devices) if devices else None,
    )


def _fresh_start(options: BenchOptions) -> _Start:
    with tempfile.TemporaryFile("w+") as complaints, _DeviceWatch(device_memory_in_use()) as watch:
        marks, last = _milestones(options, complaints)
        complaints.seek(0)
        said = complaints.read().strip().splitlines() or ["it said nothing."]
    if "error" in last:
        raise getattr(errors, str(last["kind"]))(last["error"])
    if "first_picture" not in marks:
        raise EngineError(f"A fresh process could not paint a picture: {said[-1]}")
    memory = int(last["peak_rss"])
    return _Start(marks["imported"], marks["ready"], marks["first_picture"], memory, watch.peak)


def _milestones(options: BenchOptions, complaints: IO[str]) -> tuple[dict[str, float], dict[str, str | int]]:
    """Seconds to each milestone that a process reached, and the last thing that it said."""
    marks: dict[str, float] = {}
    last: dict[str, str | int] = {}
    began = time.perf_counter()
    command = [sys.executable, "-m", "outpaint_engine.bench.first_picture"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(asdict(replace(options, load=replace(options.load, buckets=())))))
        process.stdin.close()
        for line in process.stdout:
            last = json.loads(line)
            marks[str(last["milestone"])] = time.perf_counter() - began
    return marks, last


class _DeviceWatch:
    """Asks, in a thread, how much the device holds; `peak` is the most beyond `before`, None without a device."""

    def __init__(self, before: int | None) -> None:
        self._before, self.peak = before, None if before is None else 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while self._before is not None and not self._over.wait(POLL_SECONDS):
            self.peak = max(self.peak or 0, (device_memory_in_use() or 0) - self._before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
