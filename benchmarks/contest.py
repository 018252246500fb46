"""The sides of a comparison as processes that stay loaded and take turns."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from tqdm import tqdm

from .sides import KINDS
from .task import SideName, Task

__all__ = ["Contest", "Rounds", "Side", "SideFailed"]

ROOT = Path(__file__).parents[1]


class SideFailed(Exception):
    """A side's process answered with an error, or not at all."""


class Rounds(NamedTuple):
    """How many are not counted, how many are, and seconds between two turns, in which threads stop spinning."""

    warmup: int
    counted: int
    pause: float


@dataclass
class Side:
    """One side: its process, what it said when it was loaded, and its counted turns.

    `difference` is that of its final latents from the first side's, relative to their largest value; `painted` are the
    files of the counted turns' unknown areas, where the side tells them.
    """

    name: SideName
    process: subprocess.Popen[str]
    prepared: dict[str, Any] = field(default_factory=dict)
    turns: list[dict[str, Any]] = field(default_factory=list)
    difference: float | None = None
    painted: list[Path] = field(default_factory=list)

    def ask(self, line: dict[str, Any]) -> dict[str, Any]:
        """Send a line and wait for the answer.

        Raises:
            SideFailed: the answer is an error, or the process ended.
        """
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        except BrokenPipeError:
            answer = {"error": "the process ended"}
        if "error" in answer:
            raise SideFailed(f"{self.name.text}: {answer['error']}")
        return dict(answer)


class Contest:
    """A context manager; leaving it ends the processes. `scratch` is where latents are exchanged."""

    def __init__(self, task: Task, environments: Path, scratch: Path) -> None:
        self.task, self._environments, self._scratch = task, environments, scratch
        self.sides: list[Side] = []
        self.orders: list[list[str]] = []
        self.left_out: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for side in self.sides:
            _end(side.process)

    def prepare(self, name: SideName, may_fail: bool) -> None:
        """Start and load a side; where it `may_fail`, the reason is kept in `left_out` and said."""
        side = None
        try:
            side = Side(name, _started(name, self._environments))
            side.prepared = side.ask({"prepare": {"side": name.text, "task": asdict(self.task)}})
            # A side that cannot run is found out here, and not after the others are loaded.
            side.ask({"run": 0, "latents": str(self._latents(len(self.sides))), "painted": None})
        except SideFailed as error:
            if side:
                _end(side.process)
            if not may_fail:
                raise
            self.left_out[name.text] = str(error).removeprefix(f"{name.text}: ")
            print(f"Left out: {error}", file=sys.stderr)
            return
        self.sides.append(side)
        side.difference = self._difference(len(self.sides) - 1)

    def run(self, rounds: Rounds) -> None:
        """Every side once a round, in an order that is drawn for each; the seeds are the rounds' numbers."""
        if not self.sides:
            raise SideFailed("No side is left to time.")
        draw = random.Random(0)
        numbers = tqdm(range(rounds.warmup + rounds.counted), unit="round", disable=not sys.stderr.isatty())
        for number in numbers:
            order = draw.sample(self.sides, len(self.sides))
            for side in order:
                time.sleep(rounds.pause)
                path = self._scratch / f"{self.sides.index(side)}-{number}.npy"
                turn = side.ask({"run": number + 1, "latents": None, "painted": str(path)})
                if number >= rounds.warmup:
                    side.turns.append(turn)
                    side.painted.append(path)
            self.orders.append([side.name.text for side in order])

    def _latents(self, index: int) -> Path:
        return self._scratch / f"{index}.npy"

    def _difference(self, index: int) -> float | None:
        paths = [self._latents(each) for each in (0, index)]
        if not all(path.exists() for path in paths):
            return None
        base, found = map(np.load, paths)
        return float(np.abs(found - base).max() / np.abs(base).max())


def _started(name: SideName, environments: Path) -> subprocess.Popen[str]:
    environment = KINDS[name.kind].environment
    python = environments / environment / "bin" / "python" if environment else Path(sys.executable)
    if not python.exists():
        raise SideFailed(f"{name.text}: {python} does not exist. benchmarks/README.md says how to make it.")
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "export")))
    return subprocess.Popen(
        [python.absolute(), "-m", "benchmarks.worker"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    """Close the input, which ends the process."""
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.wait()
