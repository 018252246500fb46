"""Runs steps one after another: none of them can end the others, and those that are done are not run again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .steps import MODEL, Step

__all__ = ["Records", "run_steps"]

LEAST = 8
"""Seconds with which nothing is begun any more."""
SAID = 1500
"""Letters that are kept of what a step that did not end well said last."""


class Records:
    """What became of each step, in `steps.json`: "done", "failed" or "late", seconds, and the last words."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "steps.json"
        self.steps: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def done(self, name: str) -> bool:
        return self.steps.get(name, {}).get("ended") == "done"

    def add(self, step: Step, ended: str, seconds: float, said: str) -> None:
        last = said.strip()[-(200 if ended == "done" else SAID) :]
        self.steps[step.name] = {"answers": step.answers, "ended": ended, "seconds": round(seconds, 1), "said": last}
        self._file.write_text(json.dumps(self.steps, indent=1) + "\n")
        print(f"== {step.name}: {ended} after {seconds:.0f} s\n{last[-400:]}", flush=True)


class _Running:
    """A step's process, which has a group of its own, so that its children end with it."""

    def __init__(self, step: Step, log: Path, *, aside: bool = False) -> None:
        self.step, self._log, self._began = step, log, time.monotonic()
        # What runs beside measurements leaves them the processor.
        first = ("nice", "-n", "19") if aside else ()
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                (*first, sys.executable, *step.command), stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self, seconds: float, records: Records) -> None:
        """Wait for so long at most, end it, and write down how it went."""
        try:
            ended = "failed" if self._process.wait(max(0.0, seconds)) else "done"
        except subprocess.TimeoutExpired:
            ended = "late"
        if ended == "late":
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        said = self._log.read_text(errors="replace")
        records.add(self.step, ended, time.monotonic() - self._began, said)


def run_steps(steps: Sequence[Step], records: Records, logs: Path, seconds: float) -> None:
    """Run what is not done yet, in `seconds` at most; the step `MODEL` runs beside those that do not need it."""
    end = time.monotonic() + seconds
    pending = [step for step in steps if not records.done(step.name)]
    model = next((step for step in pending if step.name == MODEL), None)
    aside = _Running(model, logs / f"{MODEL}.txt", aside=True) if model else None
    pending = [step for step in pending if step.name != MODEL]
    while pending and end - time.monotonic() > LEAST:
        if aside and aside.ended:
            aside.finish(0, records)
            aside = None
        step = next((step for step in pending if aside is None or not step.needs_model), None)
        if step is None and aside is not None:
            aside.finish(min(aside.step.seconds, end - time.monotonic() - LEAST), records)
            aside = None
            continue
        assert step is not None
        pending.remove(step)
        if step.needs_model and model and not records.done(MODEL):
            records.add(step, "failed", 0, "There is no model: see the step that makes it.")
            continue
        _Running(step, logs / f"{step.name}.txt").finish(min(step.seconds, end - time.monotonic()), records)
    if aside:
        aside.finish(end - time.monotonic(), records)
