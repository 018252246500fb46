"""How requests that run at one time share the loaded model.

On an accelerator their UNet calls become one. On a CPU a call of one thread wastes nothing on handing work out, so
several requests run a core each, and only a request that is alone gets every core: the model is loaded twice for it.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..components import Models, Unet, VaeDecoder, VaeEncoder
from ..engines import BatchingEngine, Engine, EngineOptions
from ..engines.base import EngineDecorator, usable_cores
from ..pipeline import OutpaintPipeline
from ..request import OutpaintRequest
from ..run import OutpaintRun, pictures_per_call
from ..tensors import Array
from .configuration import Configuration

__all__ = ["SharedModel", "load_shared"]

WARM_SIDE = 128
ROWS, FACTOR = 2, 8
"""Rows of one request in a UNet call, with and without the prompt; pixels a latent."""


@contextmanager
def load_shared(
    engines: str | Path,
    device: str,
    configuration: Configuration,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
) -> Iterator["SharedModel"]:
    """Load an engine set for `configuration.workers`; closed with the block.

    Raises:
        EngineSetError: the folder is missing, incomplete or damaged.
        BackendUnavailable: the device cannot be used here.
    """
    workers = configuration.workers
    with OutpaintPipeline.from_pretrained(engines, device=device, options=options) as pipeline:
        if pipeline.models.unet.engine.device != "cpu" or workers == 1 or not configuration.load_twice:
            yield SharedModel(pipeline, workers)
            return
        # Each request brings a thread of its own; what is left helps all of them.
        alone = replace(options, threads=max(1, (options.threads or usable_cores()) - _lanes(workers) + 1))
        with OutpaintPipeline.from_pretrained(engines, device=device, options=alone, verify=False) as twin:
            yield SharedModel(pipeline, workers, twin)


def _lanes(workers: int) -> int:
    return min(workers, usable_cores())


def _rows_in_memory(feeds: Mapping[str, Array]) -> int:
    """How many rows of these latents a UNet call on a CPU may have."""
    height, width = (FACTOR * side for side in feeds["sample"].shape[2:])
    return ROWS * pictures_per_call(width, height)


class SharedModel:
    """One model for all workers; `twin` is what it runs on while there are several requests.

    Pipeline and twin stay the caller's to close.
    """

    def __init__(self, pipeline: OutpaintPipeline, workers: int, twin: OutpaintPipeline | None = None) -> None:
        self._loaded = (pipeline,) if twin is None else (pipeline, twin)
        self._lock, self._running = threading.Lock(), 0
        models = pipeline.models
        rows = _rows_in_memory if models.unet.engine.device == "cpu" else ROWS * workers
        if twin is not None:
            # Whoever finds a core free takes along who waits, and waits for nobody.
            merged = BatchingEngine(twin.models.unet.engine, max_rows=rows, patience=0, lanes=_lanes(workers))
            models = _switched(models, twin.models._replace(unet=Unet(merged)), lambda: self._running > 1)
        elif workers > 1:
            models = models._replace(unet=Unet(BatchingEngine(models.unet.engine, max_rows=rows)))
        self._shared = OutpaintPipeline(models)

    @contextmanager
    def run(self, request: OutpaintRequest) -> Iterator[OutpaintRun]:
        """A run, which is company for the others until the block ends."""
        with self._lock:
            self._running += 1
        try:
            yield self._shared.steps(request)
        finally:
            with self._lock:
                self._running -= 1

    def warm_up(self, side: int) -> None:
        """Run one step on grey on whatever is loaded, which also shows whether the engines work.

        The canvas is `side` pixels, or less on a CPU, which prepares nothing for a size.
        """
        grey = np.full((8, 8, 3), 127, np.uint8)
        for pipeline in self._loaded:
            side = min(side, WARM_SIDE) if pipeline.models.unet.engine.device == "cpu" else side
            pipeline(image=grey, width=side, height=side, offset_x=side // 2, num_inference_steps=1)


def _switched(alone: Models, twin: Models, several: Callable[[], bool]) -> Models:
    """Every part but the text encoder, whose answers are kept, as a switch between the two."""
    scale = alone.engine_set.latent_scale
    return alone._replace(
        unet=Unet(_Switch(alone.unet.engine, twin.unet.engine, several)),
        vae_encoder=VaeEncoder(_Switch(alone.vae_encoder.engine, twin.vae_encoder.engine, several), scale),
        vae_decoder=VaeDecoder(_Switch(alone.vae_decoder.engine, twin.vae_decoder.engine, several), scale),
    )


class _Switch(EngineDecorator):
    """Runs on `twin` while there are several requests, and on `alone` otherwise."""

    def __init__(self, alone: Engine, twin: Engine, several: Callable[[], bool]) -> None:
        super().__init__(alone)
        self._twin, self._several = twin, several

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine that suits the moment."""
        return (self._twin if self._several() else self.engine).run(feeds, wanted)
