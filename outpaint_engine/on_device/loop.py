"""Runs a sampler's steps with everything they read on the device: two launches a step and no copy.

The UNet's session writes its answer where the graph of `graph.tail` reads it, and that one writes the next inputs.
History and call number have two places that are read and written in turns, so what is recorded as CUDA graphs is one of
the UNet and two of the tail, and no call reads what it writes: the library runs one several times when it records it.
They are kept for the next picture of the same shape.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..denoise import Held
from ..engines import BoundCalls, Engine
from ..errors import NumericalError, OutpaintError
from ..samplers import LinearStep, Step
from ..schedule import Time
from ..tensors import Array, TensorSpec
from .graph import CALLS, COLUMNS, LATENT_CHANNELS, StepGraph, tail

__all__ = ["DeviceStep", "Given", "run_on_device"]

SAMPLE, TIMESTEP, CONTEXT, ANSWER = "sample", "timestep", "encoder_hidden_states", "out_sample"
TURNS = ("history", "call")
"""What a step reads and leaves for the next one."""
MOST_KEPT = 128
"""Vectors that a step may reach back to, 64 kB each at 512x512 pixels. Most samplers take 4 to 9; UniPC, whose
corrections go on from corrected latents, two for each step of the run."""
KEPT_LOOPS = 2
SHOWN = 2
"""How much further back a vector is after a step than its weight in `LinearStep.x0` says."""


class Given(NamedTuple):
    """What a run is given: the first x (B, 4, h, w), embeddings of the UNet's R rows, how the known latents are held.

    `extra` (B, 5, h, w) is what the sample of a UNet of 9 channels has beside x; `guidance_scale` is None where the
    rows are the prompt's alone.
    """

    x: Array
    context: Array
    held: Held | None
    extra: Array | None
    guidance_scale: float | None


@dataclass(frozen=True)
class DeviceStep:
    """As `samplers.Step`, of latents that are on the device and are read from there when they are asked for.

    Raises:
        OutpaintError: they are asked for when the run has gone on, and they are no longer there.
    """

    number: int
    time: Time
    loop: "_Loop"
    made: int
    weights: tuple[float, ...]

    @property
    def x(self) -> Array:
        """The latents now."""
        return self.loop.vectors(self.made)[0]

    @property
    def x0(self) -> Array:
        """The picture as the model sees it so far."""
        weights = np.array(self.weights, np.float32)
        shown: Array = np.tensordot(weights, self.loop.vectors(self.made)[1 : 1 + len(weights)], 1)
        return shown


def run_on_device(engine: Engine, steps: Sequence[LinearStep], given: Given) -> Iterator[DeviceStep | Step] | None:
    """The steps of a run, each after its call; None where this engine or this sampler has to go through arrays.

    Raises:
        NumericalError: the UNet answered with NaN or infinity, which is seen at the end.
        EngineError: a session failed.
    """
    calls = engine.bound_calls()
    reach = max(len(weights) for step in steps for weights in (step.weights, step.x0)) + SHOWN
    shape = _made_for(engine, given, reach)
    if calls is None or shape is None or len(steps) > CALLS or reach > MOST_KEPT:
        return None
    return _steps(calls, shape, steps, given)


def _finite(last: DeviceStep) -> Step:
    x, x0 = last.x, last.x0
    if not np.isfinite(x).all():
        raise NumericalError(
            "The UNet answered with NaN or infinity. This engine's precision does not hold the model: use an fp32 "
            "engine set, or export it again."
        )
    return Step(last.number, last.time, x, x0)


def _made_for(engine: Engine, given: Given, kept: int) -> StepGraph | None:
    sample, timestep, answer = engine.inputs[SAMPLE], engine.inputs[TIMESTEP], engine.outputs[ANSWER]
    # A distilled UNet takes the guidance scale too; others' graphs whole timesteps, or a single one for all rows.
    if set(engine.inputs) != {SAMPLE, TIMESTEP, CONTEXT}:
        return None
    if timestep.dtype.kind != "f" or len(timestep.shape) != 1 or not isinstance(timestep.shape[0], str):
        return None
    rows, (pictures, channels, *sides) = len(given.context), given.x.shape
    channels += 0 if given.extra is None else given.extra.shape[1]
    return StepGraph(
        pictures,
        guided=given.guidance_scale is not None,
        held=given.held is not None,
        kept=kept,
        sample=TensorSpec(SAMPLE, sample.dtype, (rows, channels, *sides)),
        timestep=TensorSpec(TIMESTEP, timestep.dtype, (rows,)),
        answer=TensorSpec(ANSWER, answer.dtype, (rows, LATENT_CHANNELS, *sides)),
    )


def _steps(
    calls: BoundCalls, shape: StepGraph, steps: Sequence[LinearStep], given: Given
) -> Iterator[DeviceStep | Step]:
    context = TensorSpec(CONTEXT, calls.input_dtype(CONTEXT), given.context.shape)
    # A run has its loop to itself; another one of the same shape, at the same time, makes its own.
    loop = calls.kept.pop((shape, context), None) or calls.run(lambda: _Loop(calls, shape, context))
    try:
        calls.run(lambda: loop.begin(steps, given))
        for number, step in enumerate(steps):
            calls.step(loop.step)
            on_device = DeviceStep(number, step.time, loop, loop.made, step.x0)
            # The last is looked at when another run may have the loop.
            yield on_device if number + 1 < len(steps) else _finite(on_device)
    finally:
        left = [calls.kept.pop((shape, context), None)]
        while len(calls.kept) >= KEPT_LOOPS:
            left.append(calls.kept.pop(next(iter(calls.kept))))
        calls.kept[shape, context] = loop
        for each in filter(None, left):
            calls.run(each.release)


class _Loop:
    """The places of one shape, the UNet's call, and the two calls of the tail, which read and write in turns."""

    def __init__(self, calls: BoundCalls, shape: StepGraph, context: TensorSpec) -> None:
        self._calls, self._shape, self.made = calls, shape, 0
        specs = {**shape.inputs, SAMPLE: shape.sample, TIMESTEP: shape.timestep, CONTEXT: context}
        self._places = {name: calls.place(spec) for name, spec in specs.items() if name not in TURNS}
        self._turns = [{name: calls.place(specs[name]) for name in TURNS} for _ in (0, 1)]
        taken = {name: self._places[name] for name in (SAMPLE, TIMESTEP, CONTEXT)}
        self._unet = calls.bound(calls.session, taken, {ANSWER: self._places[ANSWER]})
        # The session must live as long as its calls.
        self._session = calls.open(tail(shape))
        self._tails = [self._tail(turn) for turn in (0, 1)]

    def _tail(self, turn: int) -> Any:
        read = {name: self._turns[turn].get(name) or self._places[name] for name in self._shape.inputs}
        left = {f"next_{name}": place for name, place in self._turns[1 - turn].items()}
        fed = {name: self._places[name] for name in (SAMPLE, TIMESTEP)}
        return self._calls.bound(self._session, read, {**left, **fed})

    def begin(self, steps: Sequence[LinearStep], given: Given) -> None:
        """Copy to the device all that a run reads."""
        # Counted on, so that a step of the run before is not taken for one of this.
        self.made += 2
        history = np.zeros((self._shape.kept, *given.x.shape), np.float32)
        history[0] = given.x
        values = _tables(steps, self._shape.kept, given.guidance_scale) | {CONTEXT: given.context}
        if given.held is not None:
            values |= given.held._asdict()
        copies = len(given.context) // len(given.x)
        sample = np.tile(given.x / np.float32(steps[0].time.level.divisor), (copies, 1, 1, 1))
        if given.extra is not None:
            values["extra"] = np.tile(given.extra, (copies, 1, 1, 1))
            sample = np.concatenate([sample, values["extra"]], axis=1)
        values |= {SAMPLE: sample, TIMESTEP: np.full(len(given.context), steps[0].time.t)}
        for name, value in values.items():
            self._calls.write(self._places[name], value)
        for name, value in (("history", history), ("call", np.zeros(1, np.int64))):
            self._calls.write(self._turns[self.made % 2][name], value)

    def step(self) -> None:
        """One UNet call and what follows it."""
        self._unet.run()
        self._tails[self.made % 2].run()
        self.made += 1

    def vectors(self, made: int) -> Array:
        """What is kept after so many calls, newest first: x, the answer that led to it, the x before, ..."""
        if made != self.made:
            raise OutpaintError(
                "The run has gone on, so that what this step made is no longer on the device. Look at it before that."
            )
        kept: Array = self._calls.run(lambda: self._turns[made % 2]["history"].numpy())
        return kept

    def release(self) -> None:
        """Let go of the UNet's recorded graph; the tail's go with its session."""
        self._unet.release()


def _tables(steps: Sequence[LinearStep], kept: int, guidance_scale: float | None) -> dict[str, Array]:
    """A row a call: its weights, and `COLUMNS`."""
    weights, table = (np.zeros((CALLS, columns), np.float32) for columns in (kept + 1, len(COLUMNS)))
    for call, (step, after) in enumerate(zip(steps, [*steps[1:], steps[-1]], strict=True)):
        weights[call, : len(step.weights)] = step.weights
        table[call] = (*step.held, after.time.level.divisor, after.time.t, guidance_scale or 0)
    return {"weights": weights, "table": table}
