"""The front door: opens an engine set, loads its engines on one device, and runs requests."""

from pathlib import Path
from typing import Any, Self

from .components import Models
from .engine_set import EngineSet
from .engines import EngineOptions, load_engines
from .errors import EngineSetError, RequestError
from .request import OutpaintRequest
from .run import OutpaintResult, OutpaintRun

__all__ = ["OutpaintPipeline"]


class OutpaintPipeline:
    """An engine set ready to run. Use it as a context manager, or `close` it.

    `max_batch` bounds how many pictures of a request share a UNet call; see `run.pictures_per_call`.
    """

    def __init__(self, models: Models, *, max_batch: int | None = None) -> None:
        channels = models.engine_set.unet_channels
        if channels not in (4, 9):
            raise EngineSetError(f"The UNet takes {channels} channels; outpainting knows 4 and 9.")
        if max_batch is not None and max_batch < 1:
            raise RequestError(f"max_batch must be a whole number from 1, not {max_batch}.")
        self.models, self.max_batch = models, max_batch

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path = "demo",
        *,
        device: str = "auto",
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        verify: bool = True,
        max_batch: int | None = None,
    ) -> Self:
        """Open an engine set ("demo" is the one that comes with this package) and load it on `device`.

        `device` is "auto" or a backend's name, see docs/backends.md; `options` say in what precision and on how many
        threads, where it leaves a choice, and for which canvas sizes to be ready.

        Raises:
            EngineSetError: the folder is missing, incomplete or damaged.
            BackendUnavailable: the device cannot be used here, or not in that precision.
        """
        engine_set = EngineSet.open(folder, verify=verify)
        engines = load_engines(engine_set, device, options)
        return cls(Models.of(engine_set, engines), max_batch=max_batch)

    def __call__(self, request: OutpaintRequest | None = None, **fields: Any) -> OutpaintResult:
        """Run a request, or the request made of `fields`, to its end."""
        run = self.steps(request or OutpaintRequest(**fields))
        for _ in run:
            pass
        return run.result

    def steps(self, request: OutpaintRequest) -> OutpaintRun:
        """A run to iterate over: one `Progress` a step, then `.result`. Stop iterating to cancel."""
        return OutpaintRun(self.models, request, self.max_batch)

    def close(self) -> None:
        """Free the engines."""
        for engine in self.models.engines.values():
            engine.close()

    def __enter__(self) -> Self:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipeline."""
        self.close()
