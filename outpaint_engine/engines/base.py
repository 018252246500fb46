"""What every engine and every backend is: two verbs and a close."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..engine_set import EngineSet
from ..tensors import Array, TensorSpec

__all__ = ["Backend", "Engine", "EngineOptions", "Probe", "usable_cores"]


class Engine(ABC):
    """One loaded graph. A context manager; `close` gives its memory back."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    device: str
    precision: str

    @abstractmethod
    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Arrays in, arrays out; the caller owns what it gets. `wanted` names the outputs to compute, None is all.

        Raises:
            EngineError: the engine failed; the message names it.
        """

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


@dataclass(frozen=True)
class Probe:
    """Whether a backend works here: its version and device, or the reason and what to install."""

    usable: bool
    version: str = ""
    device: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class EngineOptions:
    """How engines are loaded, whatever the backend.

    `precision` is "auto", "fp32", "bf16" or "fp16": what the engine computes in, where a backend can choose;
    `threads` bounds the CPU threads of one engine, None is every core this process may run on.
    """

    precision: str = "auto"
    threads: int | None = None


def usable_cores() -> int:
    """How many CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Backend(ABC):
    """A runtime library that loads artifacts of one format. It never builds and never downloads."""

    name: str
    device: str
    format: str

    @abstractmethod
    def probe(self) -> Probe:
        """Look whether this backend can be used; never raises."""

    @abstractmethod
    def load(self, engine_set: EngineSet, part: str, options: EngineOptions) -> Engine:
        """Load the engine of one part of a set, from the artifact that this backend reads.

        Raises:
            BackendUnavailable: the library is missing, or another device than this backend's would run.
            EngineSetError: the set has no artifact for this backend, or it is not one that it reads.
        """
