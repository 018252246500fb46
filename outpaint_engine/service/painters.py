"""Who paints: the painter in this process, or painters elsewhere. The dispatcher of `worker.py` sees no difference."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ..errors import OutpaintError
from ..run import Progress
from .painting import Painted, Painter, thumbnail

__all__ = ["LocalPainters", "PainterLost", "Painters", "Painting", "RunFailed", "Step"]


class PainterLost(OutpaintError):  # noqa: N818 - reads as the state it reports
    """Whoever painted a job is gone, and with it what was painted; another can begin again."""


class RunFailed(OutpaintError):  # noqa: N818 - reads as the state it reports
    """A run failed where it was painted, and was recorded there; the message is for the client."""


class Step(NamedTuple):
    """`step` of `steps` is done."""

    step: int
    steps: int


class Painting(Protocol):
    """One job being painted: iterate over its steps, then read `painted`, which is None where it was cancelled."""

    painted: Painted | None

    def __iter__(self) -> Iterator[Step]:
        """Go on by a step; several may be told as one."""

    def preview(self) -> bytes | None:
        """A small JPEG of the run so far; None where it will be there after a later step."""

    def cancel(self) -> None:
        """End it elsewhere, from any thread, with the step that is under way. Here it ends when it is closed."""

    def close(self) -> None:
        """End it, between two of its steps."""


class Painters(Protocol):
    """Whoever is handed jobs, so many at one time."""

    elsewhere: bool
    """Whether what they paint goes on between two steps of this process, and whoever hangs is noticed there."""

    def places(self) -> int:
        """How many jobs they paint at one time as things are."""

    def paint(self, picture: bytes, fields: Mapping[str, Any], suffix: str) -> Painting:
        """Begin a job; its errors are raised by its iteration. See `Painter.paint`."""

    def warm_up(self, side: int) -> None:
        """Run one step on grey, which also shows whether the engines work."""


class LocalPainters:
    """The painter of this process, on whatever thread asks."""

    elsewhere = False

    def __init__(self, painter: Painter, places: int) -> None:
        self._painter, self._places = painter, places

    def places(self) -> int:
        """As many as were allowed."""
        return self._places

    def paint(self, picture: bytes, fields: Mapping[str, Any], suffix: str) -> Painting:
        """Begin, on the first step."""
        return _LocalPainting(self._painter, picture, fields, suffix)

    def warm_up(self, side: int) -> None:
        """See `Painter.warm_up`."""
        self._painter.warm_up(side)


class _LocalPainting:
    def __init__(self, painter: Painter, picture: bytes, fields: Mapping[str, Any], suffix: str) -> None:
        self._steps = painter.paint(picture, fields, suffix)
        self._progress: Progress | None = None
        self.painted: Painted | None = None

    def __iter__(self) -> Iterator[Step]:
        while True:
            try:
                self._progress = next(self._steps)
            except StopIteration as end:
                self.painted = end.value
                return
            yield Step(self._progress.step, self._progress.steps)

    def preview(self) -> bytes | None:
        return thumbnail(self._progress) if self._progress else None

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        self._steps.close()
