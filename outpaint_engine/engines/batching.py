"""One engine for several threads: calls that wait at the same time become one call with more rows.

Whoever finds the engine free leads: it takes along the waiting calls of its shape, runs them and hands out their
rows. Nothing runs in the background, and nothing waits while there is nobody to wait for.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping

import numpy as np

from ..errors import EngineError
from ..tensors import Array
from .base import Engine, EngineDecorator

__all__ = ["BatchingEngine"]


RowBound = int | Callable[[Mapping[str, Array]], int]


class _Call:
    """One caller's feeds, and in the end its outputs or its error."""

    def __init__(self, feeds: Mapping[str, Array]) -> None:
        self.feeds = feeds
        self.rows = len(next(iter(feeds.values())))
        self.shape = tuple((name, value.dtype, value.shape[1:]) for name, value in sorted(feeds.items()))
        self.outputs: dict[str, Array] | None = None
        self.error: BaseException | None = None

    @property
    def ended(self) -> bool:
        return self.outputs is not None or self.error is not None


class BatchingEngine(EngineDecorator):
    """Merges concurrent calls whose arrays differ in their first axis only, up to `max_rows` rows.

    `max_rows` may be a function of a call's arrays, for an engine that can take fewer rows the larger they are. A
    leader waits at most `patience` seconds, and only while callers of the batch before are still to come back. `lanes`
    is how many calls the engine runs at one time. A graph with a fixed or missing first axis is run call by call.
    """

    def __init__(self, engine: Engine, *, max_rows: RowBound = 8, patience: float = 0.02, lanes: int = 1) -> None:
        super().__init__(engine)
        specs = (*engine.inputs.values(), *engine.outputs.values())
        self._growing = all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
        self._max_rows = max_rows
        self._patience, self._lanes = patience, lanes
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._running = 0
        self._expected = 1
        """Callers seen together lately: as many are worth waiting for."""

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run, alone or with others; the caller owns what it gets: the outputs that `wanted` names, None is all."""
        call = _Call(feeds)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not (leads := self._may_lead(call)) and not call.ended:
                self._changed.wait()
            if leads:
                self._waiting.remove(call)
                self._running += 1
        if leads:
            self._lead(call)
        if call.error is not None:
            raise call.error
        assert call.outputs is not None
        return {name: value for name, value in call.outputs.items() if wanted is None or name in wanted}

    def _may_lead(self, call: _Call) -> bool:
        """Whether nobody has taken the call along and a lane is free for it."""
        return call in self._waiting and self._running < self._lanes

    def _most(self, call: _Call) -> int:
        """How many rows a batch with this call may have."""
        if not self._growing:
            return call.rows
        return self._max_rows(call.feeds) if callable(self._max_rows) else self._max_rows

    def _gathered(self, first: _Call) -> list[_Call]:
        """Wait for those who are expected, then take what fits beside `first` out of the line."""
        deadline = time.monotonic() + self._patience
        while 1 + len(self._waiting) < self._expected and (left := deadline - time.monotonic()) > 0:
            self._changed.wait(left)
        batch, rows, most = [first], first.rows, self._most(first)
        for call in self._waiting:
            if call.shape == first.shape and rows + call.rows <= most:
                batch.append(call)
                rows += call.rows
        self._waiting = [call for call in self._waiting if call not in batch]
        return batch

    def _lead(self, first: _Call) -> None:
        batch = [first]
        try:
            with self._changed:
                batch = self._gathered(first)
            self._run_batch(batch)
        finally:
            with self._changed:
                for call in batch:
                    if not call.ended:
                        call.error = EngineError("The call that this one was merged with was interrupted.")
                # Those who waited meanwhile and those who ran may all be back for the next call, as far as they fit.
                self._expected = min(len(batch) + len(self._waiting), max(1, self._most(first) // first.rows))
                self._running -= 1
                self._changed.notify_all()

    def _run_batch(self, batch: list[_Call]) -> None:
        if len(batch) > 1:
            feeds = {name: np.concatenate([call.feeds[name] for call in batch]) for name in batch[0].feeds}
            try:
                outputs = self.engine.run(feeds)
            except Exception:
                # Too much for the device, or one caller's fault: let each have its own answer.
                pass
            else:
                start = 0
                for call in batch:
                    rows = slice(start, start + call.rows)
                    call.outputs = {name: value[rows].copy() for name, value in outputs.items()}
                    start += call.rows
                return
        for call in batch:
            try:
                call.outputs = self.engine.run(call.feeds)
            except Exception as error:
                call.error = error
