"""Painters that `outpaint batch` hands requests to: Ray's actors, which start where there is room and come back."""

import queue
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ...errors import OutpaintError
from ...request import OutpaintRequest
from ...run import OutpaintResult
from ...shared import SharedPipeline

__all__ = ["BatchPainters"]

TRIES = 3
"""More, of a request whose painter dies."""


class _Painter:
    def __init__(self, load: Callable[[], SharedPipeline]) -> None:
        self._model = load()

    def ready(self) -> None:
        """Answers once the model is loaded."""

    def paint(self, request: OutpaintRequest) -> OutpaintResult:
        return self._model(request)


class BatchPainters:
    """`most` painters, of which as many paint as the cluster has room for. Threads may call it, and wait for one.

    A painter that dies is started anew by Ray, elsewhere if need be, and paints its request again.
    """

    def __init__(self, load: Callable[[], SharedPipeline], most: int, cores: float, gpus: float) -> None:
        options = {"num_cpus": cores, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": TRIES}
        self.most, self._idle = most, queue.SimpleQueue[Any]()
        painter = ray.remote(**options)(_Painter)
        self._painters = [painter.remote(load) for _ in range(most)]
        for each in self._painters:
            self._when_ready(each)

    def __call__(self, request: OutpaintRequest) -> OutpaintResult:
        """Paint a request on the painter that is free first.

        Raises:
            OutpaintError: what the pipeline there raises; or the painters cannot load the model, or die of the request.
        """
        painter = self._idle.get()
        if isinstance(painter, Exception):
            # The next one that asks is to hear it too.
            self._idle.put(painter)
            why = str(painter).strip().splitlines()[-1]
            raise OutpaintError(f"The painters cannot start: {why}") from painter
        try:
            result: OutpaintResult = ray.get(painter.paint.remote(request))
            return result
        except RayTaskError as error:
            if isinstance(error.cause, OutpaintError):
                raise error.cause from None
            raise
        except RayError as error:
            raise OutpaintError(f"The painter is gone, {TRIES + 1} times: {error}") from error
        finally:
            self._idle.put(painter)

    def _when_ready(self, painter: Any) -> None:
        def told(future: Any) -> None:
            self._idle.put(future.exception() or painter)

        painter.ready.remote().future().add_done_callback(told)
