"""What every engine and every backend is: two verbs and a close."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..engine_set import PARTS, Artifact, EngineSet, regular_file
from ..errors import BackendUnavailable, EngineError, EngineSetError, RequestError
from ..shapes import Bucket
from ..tensors import Array, Shapes, TensorSpec

if TYPE_CHECKING:
    from .bound_calls import BoundCalls

__all__ = [
    "PRECISIONS",
    "SHALLOW",
    "Backend",
    "Engine",
    "EngineDecorator",
    "EngineOptions",
    "Loading",
    "Probe",
    "check_feeds",
]

SHALLOW = "shallow"
"""The graph of a share of its part's work: it need not have every weight."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


class Engine(ABC):
    """One loaded graph. A context manager; `close` gives its memory back.

    `backend` is the name of what runs it, `device` the hardware, `precision` what it really computes in.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    backend: str
    device: str
    precision: str

    @abstractmethod
    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Arrays in, arrays out; the caller owns what it gets. `wanted` names the outputs to compute, None is all.

        Raises:
            EngineError: the engine failed; the message names it.
        """

    def bound_calls(self) -> "BoundCalls | None":
        """For loops that stay on the device; None where arrays come and go, or calls are not this engine's alone."""
        return None

    def close(self) -> None:  # noqa: B027 - an engine that holds nothing has nothing to do
        """Free what the engine holds; it cannot run afterwards."""

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""
        self.close()


class EngineDecorator(Engine):
    """An engine that runs through another, `engine`, and says of itself what that one says."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.backend, self.device = engine.backend, engine.device

    @property
    def precision(self) -> str:  # type: ignore[override]  # read only
        """Of the engine beneath, which may know it after its first run only."""
        return self.engine.precision

    def close(self) -> None:
        """Close the engine beneath."""
        self.engine.close()


def check_feeds(engine: str, inputs: Mapping[str, TensorSpec], feeds: Mapping[str, Array]) -> None:
    """Compare names, element types, ranks and fixed axes with what the graph takes.

    Raises:
        EngineError: they differ; the message names `engine` and the input.
    """
    if feeds.keys() != inputs.keys():
        raise EngineError(f"{engine} takes {', '.join(inputs)}; it was given {', '.join(feeds) or 'nothing'}.")
    for name, spec in inputs.items():
        value = feeds[name]
        fits = len(value.shape) == len(spec.shape) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(spec.shape, value.shape, strict=True)
        )
        if not fits or value.dtype != spec.dtype:
            wanted = ", ".join(map(str, spec.shape))
            raise EngineError(
                f"{engine} takes {name} as {spec.dtype} [{wanted}]; it was given {value.dtype} {list(value.shape)}."
            )


@dataclass(frozen=True)
class Probe:
    """Whether a backend works here: its version and device, or the reason and what to install.

    `worth_installing`: this machine has the hardware, so that `remedy` would make the backend work.
    """

    usable: bool
    version: str = ""
    device: str = ""
    reason: str = ""
    remedy: str = ""
    worth_installing: bool = False


@dataclass(frozen=True)
class EngineOptions:
    """How engines are loaded, whatever the backend.

    `precision` is "auto", "fp32", "bf16" or "fp16": what the engine computes in, where a backend can choose;
    `threads` bounds the CPU threads of one engine, None is every core this process may run on. Engines of fixed
    shapes are made ready for `buckets` when they are loaded (without any, for the set's native size), and for other
    shapes when they come. `cuda_graph` is whether a GPU's work is recorded once a shape and replayed; without a word it
    is, as far as the graphs allow. `prepare` has `ort-cpu` keep what it makes of the graphs, see `prepared`; what is
    kept is used without a word.

    Raises:
        RequestError: there is no such precision, or fewer than one thread.
    """

    precision: str = "auto"
    threads: int | None = None
    buckets: tuple[Bucket, ...] = ()
    cuda_graph: bool | None = None
    prepare: bool = False

    def __post_init__(self) -> None:
        """Refuse what no backend could do."""
        if self.precision not in PRECISIONS:
            raise RequestError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.threads is not None and self.threads < 1:
            raise RequestError(f"threads must be a whole number from 1, not {self.threads}.")


@dataclass(frozen=True)
class Loading:
    """What a backend is to load: a graph of one part, how, and the shapes to make engines of fixed shapes for.

    `changed` are weights to take instead of those in the part's file, by the names that its graphs have for them. A
    graph of a share of the work takes those that it has.
    """

    engine_set: EngineSet
    part: str
    options: EngineOptions = EngineOptions()
    shapes: tuple[Shapes, ...] = ()
    graph: str = "model"
    changed: Mapping[str, Array] = field(default_factory=dict)

    def artifact(self, backend: "Backend") -> tuple[Artifact, Path]:
        """What a backend reads of this part, and where it lies.

        Raises:
            EngineSetError: the set has nothing for this backend, or the file is missing or a link.
        """
        artifact = self.engine_set.artifact(self.part, backend.format, backend.name, self.graph)
        return artifact, regular_file(self.engine_set.folder, artifact.file)

    def changed_in(self, held: Collection[str]) -> dict[str, Array]:
        """The changed weights that a graph takes, which holds weights of the names `held`.

        Raises:
            EngineSetError: a whole part lacks one, so that the change would be lost.
        """
        lost = [name for name in self.changed if name not in held]
        if lost and self.graph != SHALLOW:
            raise EngineSetError(
                f"The {self.graph} graph of {self.part} in {self.engine_set.folder} lacks {lost[0]!r}, which "
                f"{self.part}/weights.json names. Bring the set up to date: "
                f"`outpaint-export adopt {self.engine_set.folder}`."
            )
        return {name: value for name, value in self.changed.items() if name in held}


class Backend(ABC):
    """A runtime library that loads artifacts of one format. It never downloads.

    `precisions` are what `EngineOptions.precision` may ask of it; `side_by_side` is whether parts load faster at one
    time than one after the other; `changes_weights` is whether it takes `Loading.changed`. Subclasses say how it is
    looked for and opened.
    """

    name: str
    device: str
    format: str
    precisions: tuple[str, ...] = PRECISIONS
    side_by_side = False
    changes_weights = False
    _probed: Probe | None = None

    def probe(self) -> Probe:
        """Whether this backend can be used here; looked for once a process. Never raises."""
        if self._probed is None:
            self._probed = self._look()
        return self._probed

    def load(self, loading: Loading) -> Engine:
        """Load the engine of one part of a set, from the artifact that this backend reads.

        Raises:
            BackendUnavailable: the library is missing, or another device than this backend's would run.
            EngineSetError: the set has no artifact for this backend, or it is not one that it reads.
        """
        self.require(loading.options)
        if loading.changed:
            self.require_changes()
        return self._open(loading)

    @abstractmethod
    def _look(self) -> Probe:
        """Look whether this backend can be used; never raises."""

    @abstractmethod
    def _open(self, loading: Loading) -> Engine:
        """Load, on a backend that can be used."""

    def suits(self, engine_set: EngineSet, options: EngineOptions) -> bool:
        """Whether "auto" may take this backend for a set; decided without loading a library."""
        formats = {artifact.part for artifact in engine_set.artifacts if artifact.format == self.format}
        return options.precision in self.precisions and formats.issuperset(PARTS)

    def require_changes(self) -> None:
        """Check that this backend can open a graph with other weights than its file's.

        Raises:
            BackendUnavailable: it cannot.
        """
        if not self.changes_weights:
            raise BackendUnavailable(
                f"{self.name} cannot merge a LoRA when it runs: ort-cpu and openvino can. Fold it in at export: "
                "`outpaint-export onnx SOURCE OUT --lora FILE:0.8`, and build plans from that set."
            )

    def own_bytes(self, loading: Loading, sizes: Mapping[str, int]) -> int:
        """Bytes of weights that an engine of changed weights keeps in memory of its own; `sizes` are the graph's."""
        return sum(sizes.values())

    def require(self, options: EngineOptions) -> Probe:
        """Probe, and check the options, before anything is loaded.

        Raises:
            BackendUnavailable: the backend cannot be used here, or not in the precision asked for.
        """
        probe = self.probe()
        if not probe.usable:
            raise BackendUnavailable(f"{self.name} cannot be used: {probe.reason}. Try: {probe.remedy}")
        if options.precision not in self.precisions:
            raise BackendUnavailable(
                f"{self.name} runs in {' or '.join(self.precisions[1:])}, not in {options.precision}. "
                "See `outpaint devices` for backends that do."
            )
        return probe
