"""What every side of a comparison is asked to do, and what it answers: the words of the protocol between processes.

Imported in every peer's environment, so it needs nothing but the standard library and numpy.
"""

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from outpaint_engine import OutpaintRequest
from outpaint_engine.bench import BenchOptions
from outpaint_engine.bench.workload import bench_request
from outpaint_engine.tensors import Array

__all__ = ["APPROXIMATIONS", "Contestant", "SideName", "Task", "Turn", "request_of"]

APPROXIMATIONS = ("reuse", "speed", "deepcache")
"""Options of a side that change the picture for speed. With one of them it is on the approximate track."""


@dataclass(frozen=True)
class Task:
    """One picture, for all sides: the same weights as a diffusers checkpoint and as an engine set, and how to sample.

    `steps` is at least 2, because the first is not counted. With `scenes` the pictures are the demo's held-out scenes,
    on which its quality can be measured (extra `export`); else ramps of colour.
    """

    checkpoint: str
    engines: str
    width: int
    height: int
    scheduler: str = "DDIM"
    steps: int = 10
    guidance_scale: float = 7.5
    scenes: bool = False


@dataclass(frozen=True)
class SideName:
    """KIND:DEVICE:PRECISION[:OPTION=VALUE...], such as `ours:ort-cpu:fp32` or `diffusers:cpu:bf16:compile=true`."""

    text: str
    kind: str
    device: str
    precision: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "SideName":
        pieces = text.split(":")
        if len(pieces) < 3 or not all("=" in piece for piece in pieces[3:]):
            raise ValueError(f"A side is KIND:DEVICE:PRECISION[:OPTION=VALUE...], not {text!r}.")
        options = dict(piece.split("=", 1) for piece in pieces[3:])
        return cls(text, *pieces[:3], {name: _value(value) for name, value in options.items()})

    @property
    def exact(self) -> str:
        """The text of the same side without its approximations; its own on the exact track."""
        kind, device, precision, *options = self.text.split(":")
        return ":".join((kind, device, precision, *(o for o in options if o.split("=")[0] not in APPROXIMATIONS)))

    def taken(self, **defaults: Any) -> dict[str, Any]:
        """The options over their `defaults`; a ValueError names one that this side does not have."""
        if unknown := set(self.options) - set(defaults):
            known = ", ".join(defaults) or "none"
            raise ValueError(f"{self.kind} has no option {', '.join(sorted(unknown))}; it has {known}.")
        return {**defaults, **self.options}


def _value(text: str) -> Any:
    """As JSON where it is that, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Turn:
    """One picture of one side. `step` is seconds a step: from the end of the first to the end of the last, divided.

    `outside` is what of a step is not in the UNet's engine; `picture` seconds from the decoded input to the decoded
    output, `cpu` the process's processor seconds of the same; `latents` the final ones, (1, 4, h, w); `painted` the
    decoded pixels of the unknown area, uint8 (n, 3). What a side does not do or cannot tell is None.
    """

    step: float | None
    picture: float | None = None
    latents: Array | None = None
    outside: float | None = None
    cpu: float | None = None
    painted: Array | None = None


class Contestant(Protocol):
    """A side that is loaded. `facts` says what it really runs: provider, precision, options."""

    facts: dict[str, Any]

    def run(self, seed: int) -> Turn:
        """Paint one picture; all sides draw the same noise for a seed."""


def request_of(task: Task, seed: int) -> OutpaintRequest:
    """The picture of `outpaint bench`, whose text changes with the seed, so that no embedding is kept.

    With `task.scenes` the held-out scene of that number, whose caption is its own.
    """
    if task.scenes:
        from .quality.cases import scene_cases

        case = next(islice(scene_cases(seed + 1, task.width, "sides"), seed, None))
        return OutpaintRequest(
            **case.fields,
            scheduler=task.scheduler,
            num_inference_steps=task.steps,
            guidance_scale=task.guidance_scale,
            detail="off",
        )
    options = BenchOptions(
        width=task.width,
        height=task.height,
        scheduler=task.scheduler,
        steps=task.steps,
        guidance_scale=task.guidance_scale,
    )
    return bench_request(options, task.width, seed)
