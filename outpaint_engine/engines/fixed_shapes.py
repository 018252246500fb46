"""One engine for each shape that is run: compilers that know every axis make faster engines than those that do not.

Of the shapes seen the latest few are kept, which bounds the memory: each holds its own copy of the weights.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future

from ..errors import EngineError
from ..tensors import Array, Shapes
from .base import Engine, check_feeds

__all__ = ["KEPT_ENGINES", "FixedShapesEngine"]

KEPT_ENGINES = 2
"""A run with a guidance interval needs two: with guidance a call has twice as many rows as without."""


class FixedShapesEngine(Engine):
    """Runs each shape on an engine of its own, which `open_engine` makes; None asks it for one of free shapes.

    Engines for the shapes `ready` are made at once. At most as many are kept as were asked for, and never fewer than
    two; the one that was used longest ago goes first. While one is made, the others run.
    """

    def __init__(self, name: str, open_engine: Callable[[Shapes | None], Engine], ready: Sequence[Shapes]) -> None:
        self._name, self._open = name, open_engine
        self._lock, self._closed = threading.Lock(), False
        self._kept: OrderedDict[Shapes | None, Future[Engine]] = OrderedDict()
        self._most = max(KEPT_ENGINES, len(ready))
        first = [self._engine(shapes) for shapes in (ready or (None,))][0]
        self.inputs, self.outputs = first.inputs, first.outputs
        self.backend, self.device = first.backend, first.device
        self._latest = first

    @property
    def precision(self) -> str:  # type: ignore[override]  # read only
        """Of the engine that ran last."""
        return self._latest.precision

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine of the feeds' shapes; a new shape waits until its engine is made."""
        # Before an engine is made for shapes that the graph does not take.
        check_feeds(self._name, self.inputs, feeds)
        self._latest = self._engine(tuple(sorted((name, value.shape) for name, value in feeds.items())))
        return self._latest.run(feeds, wanted)

    def close(self) -> None:
        """Close every engine; one that is being made is closed when it is."""
        with self._lock:
            self._closed = True
            kept = list(self._kept.values())
            self._kept.clear()
        for making in kept:
            making.add_done_callback(_close)

    def _engine(self, shapes: Shapes | None) -> Engine:
        """The engine for these shapes. Who asks first makes it, outside the lock; who asks meanwhile waits for it."""
        with self._lock:
            if self._closed:
                raise EngineError(f"{self._name} was closed.")
            making = self._kept.get(shapes)
            mine = making is None
            if making is None:
                while len(self._kept) >= self._most:
                    # Not closed: another thread may still be running it.
                    self._kept.popitem(last=False)
                making = self._kept[shapes] = Future()
            self._kept.move_to_end(shapes)
        if mine:
            self._make(shapes, making)
        return making.result()

    def _make(self, shapes: Shapes | None, making: Future[Engine]) -> None:
        try:
            making.set_result(self._open(shapes))
        except BaseException as error:
            with self._lock:
                if self._kept.get(shapes) is making:
                    del self._kept[shapes]
            failed = isinstance(error, Exception)
            making.set_exception(error if failed else EngineError(f"Making {self._name} was interrupted."))
            raise


def _close(made: Future[Engine]) -> None:
    if made.exception() is None:
        made.result().close()
