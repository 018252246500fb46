"""Every error the export stage raises on purpose, and the exit code each one ends the program with.

    OutpaintError
    ├── EngineSetError         from the runtime: the set written or adopted is broken       exit 4
    ├── AdapterError           from the runtime: a LoRA file cannot be used                 exit 5
    ├── BackendUnavailable     from the runtime: TensorRT or a GPU to build on is missing   exit 3
    ├── RequestError           from the runtime: what `parity` is to run leaves its ranges  exit 5
    └── ExportError
        ├── SourceError        the checkpoint cannot be used                                exit 5
        ├── DestinationError   the output folder cannot be used                             exit 2
        ├── ConversionError    a part cannot be turned into a graph                         exit 4
        └── ParityError        a graph or a run does not answer what the checkpoint answers exit 4

Each message says what failed, what was expected and what to do next.
"""

from outpaint_engine.errors import AdapterError, BackendUnavailable, EngineSetError, OutpaintError, RequestError

__all__ = [
    "AdapterError",
    "BackendUnavailable",
    "ConversionError",
    "DestinationError",
    "EngineSetError",
    "ExportError",
    "ParityError",
    "SourceError",
    "exit_code",
]


class ExportError(OutpaintError):
    """Base of the errors of the export stage."""


class SourceError(ExportError):
    """The checkpoint is missing, unsafe to read, incomplete, or not of the Stable Diffusion 1.5 family."""


class DestinationError(ExportError):
    """The output folder is taken, or is not a place that may be replaced."""


class ConversionError(ExportError):
    """A part of the checkpoint cannot be turned into a graph."""


class ParityError(ExportError):
    """A graph, or a whole run, differs from the checkpoint by more than its bound; the message holds the figures."""


def exit_code(error: OutpaintError) -> int:
    """The exit code of `error`: 2 usage, 3 library or GPU missing, 4 broken set, 5 input refused."""
    if isinstance(error, DestinationError):
        return 2
    if isinstance(error, BackendUnavailable):
        return 3
    return 5 if isinstance(error, SourceError | RequestError | AdapterError) else 4
