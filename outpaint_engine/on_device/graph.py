"""The graph of what follows a UNet call: guidance, the sampler's step, the known region, the next call's inputs.

Legend: R rows of a UNet call, B pictures (R = 2B with guidance), K vectors that are kept, N calls of a run at most.
"""

from dataclasses import dataclass

import numpy as np

from ..tensors import TensorSpec
from .onnx_file import GraphWriter

__all__ = ["COLUMNS", "CALLS", "StepGraph", "tail"]

CALLS = 256
"""N: rows of the table, so that runs of other lengths share a graph."""
COLUMNS = ("signal", "noise_level", "scale", "next_timestep", "guidance")
"""Of the table: the level that known latents are noised to; then of the next call what x is divided by and the timestep
it is told; how far beyond the prompt to go."""
LATENT_CHANNELS = 4


@dataclass(frozen=True)
class StepGraph:
    """What a graph is made for: rows and latent shape, K, and which of its parts there are.

    `sample`, `timestep` and `answer` are the UNet's own, with numbers for all axes.
    """

    pictures: int
    guided: bool
    held: bool
    kept: int
    sample: TensorSpec
    timestep: TensorSpec
    answer: TensorSpec

    @property
    def latents(self) -> tuple[int, ...]:
        """The shape of x: (B, 4, h, w)."""
        return (self.pictures, *map(int, self.answer.shape[1:]))

    @property
    def extra(self) -> tuple[int, ...]:
        """The shape of the further channels of a sample: (R, 0 or 5, h, w)."""
        rows, channels, *sides = map(int, self.sample.shape)
        return (rows, channels - LATENT_CHANNELS, *sides)

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """What is read, by name."""
        x, single = self.latents, np.dtype(np.float32)
        known = {"known": x, "noise": x, "mask": (1, 1, *x[2:])} if self.held else {}
        extra = {"extra": self.extra} if self.extra[1] else {}
        tables = {"weights": (CALLS, self.kept + 1), "table": (CALLS, len(COLUMNS))}
        shapes = {"history": (self.kept, *x), **tables, **known, **extra}
        specs = {name: TensorSpec(name, single, shape) for name, shape in shapes.items()}
        return {self.answer.name: self.answer, "call": TensorSpec("call", np.dtype(np.int64), (1,)), **specs}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """What is written, by name."""
        history = TensorSpec("next_history", np.dtype(np.float32), (self.kept, *self.latents))
        call = TensorSpec("next_call", np.dtype(np.int64), (1,))
        return {each.name: each for each in (history, call, self.sample, self.timestep)}


def tail(made_for: StepGraph) -> bytes:
    """The ONNX model: new x = held(weights . [answer, history]); history moves on by the answer and the new x."""
    graph = GraphWriter("after a UNet call")
    graph.node("Gather", ["weights", "call"], "weights_now", axis=0)
    graph.node("Gather", ["table", "call"], "row", axis=0)
    # Of equal pieces: otherwise it copies a list from the host's memory, where a recorded graph would look again later.
    graph.node("Split", ["row"], *COLUMNS, axis=1, num_outputs=len(COLUMNS))
    graph.node("Add", ["call", graph.constant("one_more", np.ones(1, np.int64))], "next_call")
    answer = graph.cast(made_for.answer.name, np.dtype(np.float32), "wide")
    if made_for.guided:
        graph.node("Split", [answer], "without", "with_prompt", axis=0, num_outputs=2)
        graph.node("Sub", ["with_prompt", "without"], "difference")
        graph.node("Mul", ["guidance", "difference"], "further")
        answer = graph.node("Add", ["without", "further"], "guided")
    first = graph.constant("first", np.zeros(1, np.int64))
    graph.node("Unsqueeze", [answer, first], "latest")
    graph.node("Concat", ["latest", "history"], "vectors", axis=0)
    graph.node("Reshape", ["vectors", graph.constant("flat", np.array([made_for.kept + 1, -1]))], "flat_vectors")
    graph.node("MatMul", ["weights_now", "flat_vectors"], "flat_x")
    x = graph.node("Reshape", ["flat_x", graph.constant("as_x", np.array(made_for.latents))], "moved")
    if made_for.held:
        x = _held(graph, x)
    graph.node("Unsqueeze", [x, first], "newest")
    last = graph.constant("last", np.array([made_for.kept - 1]))
    graph.node("Slice", ["vectors", first, last, first], "later")
    graph.node("Concat", ["newest", "later"], "next_history", axis=0)
    _next_call(graph, x, made_for)
    return graph.written(made_for.inputs, made_for.outputs)


def _held(graph: GraphWriter, x: str) -> str:
    """The known latents, noised to the level of the next call, wherever the mask is 0: as `denoise.hold_known`."""
    graph.node("Mul", ["signal", "known"], "known_part")
    graph.node("Mul", ["noise_level", "noise"], "noise_part")
    graph.node("Add", ["known_part", "noise_part"], "mixed")
    graph.node("Sub", [graph.constant("one", np.ones(1, np.float32)), "mask"], "outside")
    graph.node("Mul", ["outside", "mixed"], "kept_part")
    graph.node("Mul", ["mask", x], "painted_part")
    return graph.node("Add", ["kept_part", "painted_part"], "x")


def _next_call(graph: GraphWriter, x: str, made_for: StepGraph) -> None:
    sample = graph.node("Div", [x, "scale"], "scaled")
    if made_for.guided:
        sample = graph.node("Concat", [sample, sample], "both", axis=0)
    if made_for.extra[1]:
        sample = graph.node("Concat", [sample, "extra"], "all_channels", axis=1)
    graph.cast(sample, made_for.sample.dtype, made_for.sample.name)
    rows = int(made_for.timestep.shape[0])
    graph.node("Expand", ["next_timestep", graph.constant("rows", np.array([1, rows]))], "row_of_timesteps")
    graph.node("Reshape", ["row_of_timesteps", graph.constant("one_axis", np.array([rows]))], "timesteps")
    graph.cast("timesteps", made_for.timestep.dtype, made_for.timestep.name)
