"""One loaded model for several threads: requests that run at one time share it.

On an accelerator their UNet calls become one, step by step. On a CPU a call of one thread wastes nothing on handing
work out, so several requests run a core each, and only a request that is alone gets every core: the model is loaded
twice for it.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from .components import TinyDecoder
from .engines import BatchingEngine, Engine, EngineOptions
from .engines.base import EngineDecorator
from .errors import RequestError
from .lora_models import Loras
from .machine import usable_cores
from .pipeline import OutpaintPipeline
from .request import OutpaintRequest
from .run import OutpaintResult, OutpaintRun, pictures_per_call
from .safety import SafetyChecker
from .tensors import Array

__all__ = ["SharedPipeline"]

WARM_SIDE = 128
ROWS, FACTOR = 2, 8
"""Rows of one request in a UNet call, with and without the prompt; pixels a latent."""


class SharedPipeline:
    """A pipeline that several threads call at one time. Use it as a context manager, or `close` it.

    `pipeline` runs a request that is alone, `twin` those that have company; without a twin, or with `at_once` 1, the
    first runs them all. At most `at_once` requests run; further callers wait their turn. Both pipelines are closed
    with this one. Pictures are those of the pipeline beneath: to the bit on `ort-cpu`.
    """

    def __init__(self, pipeline: OutpaintPipeline, at_once: int = 2, twin: OutpaintPipeline | None = None) -> None:
        if at_once < 1:
            raise RequestError(f"at_once must be a whole number from 1, not {at_once}.")
        self._loaded = (pipeline,) if twin is None else (pipeline, twin)
        self._places = threading.Semaphore(at_once)
        self._lock, self._running = threading.Lock(), 0
        engines = pipeline.models.engines
        on_cpu = engines["unet"].device == "cpu"
        rows = _rows_in_memory if on_cpu else ROWS * at_once
        if twin is not None:
            # Whoever finds a core free takes along who waits, and waits for nobody.
            company = twin.models.engines
            company["unet"] = BatchingEngine(company["unet"], max_rows=rows, patience=0, lanes=_lanes(at_once))
            # The text encoder's answers are kept, by the one that both share.
            switched = {part: _Switch(engines[part], company[part], self._several) for part in _SWITCHED}
            models = pipeline.models.with_engines(switched)
        elif at_once > 1:
            models = pipeline.models.with_engines({"unet": BatchingEngine(engines["unet"], max_rows=rows)})
        else:
            models = pipeline.models
        self._shared = pipeline.with_models(models)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path = "demo",
        *,
        device: str = "auto",
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        at_once: int = 2,
        load_twice: bool = True,
        loras: str | Path | Loras | None = None,
    ) -> Self:
        """Open an engine set and load it for `at_once` requests; see `OutpaintPipeline.from_pretrained`.

        On a CPU the set is loaded a second time for requests that have company, which takes the memory of a second
        set, unless `load_twice` is off. To have every file compared anew, call `EngineSet.open(folder)` before.

        Raises:
            EngineSetError: the folder is missing, incomplete or damaged.
            BackendUnavailable: the device cannot be used here, or not in that precision.
            RequestError: `at_once` is below 1.
        """
        pipeline = OutpaintPipeline.from_pretrained(folder, device=device, options=options, loras=loras)
        try:
            if pipeline.models.unet.engine.device != "cpu" or at_once == 1 or not load_twice:
                return cls(pipeline, at_once)
            # Each request brings a thread of its own; what is left helps all of them.
            alone = replace(options, threads=max(1, (options.threads or usable_cores()) - _lanes(at_once) + 1))
            twin = OutpaintPipeline.from_pretrained(folder, device=device, options=alone, verify=False)
            return cls(pipeline, at_once, twin)
        except BaseException:
            pipeline.close()
            raise

    def __call__(self, request: OutpaintRequest | None = None, **fields: Any) -> OutpaintResult:
        """Run a request, or the one that `OutpaintRequest.placed` makes of `fields`, to its end; from any thread."""
        with self.steps(request, **fields) as run:
            for _ in run:
                pass
            return run.result

    @contextmanager
    def steps(self, request: OutpaintRequest | None = None, **fields: Any) -> Iterator[OutpaintRun]:
        """A run to iterate over, which is company for the others until the block ends; leave it early to cancel."""
        with self._places:
            with self._lock:
                self._running += 1
            try:
                yield self._shared.steps(request, **fields)
            finally:
                with self._lock:
                    self._running -= 1

    def allow(self, more: int) -> None:
        """Let so many more runs be open than run at one time: those that stand still between two steps."""
        self._places.release(more)

    def load_textual_inversion(self, path: str | Path, token: str | None = None) -> str:
        """Add the word of an embedding file for every request; see `OutpaintPipeline.load_textual_inversion`."""
        # The text encoder is the one that all of them share.
        return self._loaded[0].load_textual_inversion(path, token)

    def load_lora(self, path: str | Path, strength: float = 1.0, name: str | None = None) -> str:
        """Paint every request with a LoRA; see `OutpaintPipeline.load_lora`. Runs with LoRAs share no UNet calls."""
        return self._loaded[0].load_lora(path, strength, name)

    def unload_lora(self, name: str) -> None:
        """Paint without it; see `OutpaintPipeline.unload_lora`."""
        self._loaded[0].unload_lora(name)

    def load_safety_checker(self) -> SafetyChecker:
        """Load the set's safety checker now; see `OutpaintPipeline.load_safety_checker`."""
        return self._shared.load_safety_checker()

    def load_tiny_decoder(self) -> TinyDecoder:
        """Load the set's tiny decoder now; see `OutpaintPipeline.load_tiny_decoder`."""
        return self._shared.load_tiny_decoder()

    def warm_up(self, side: int) -> None:
        """Run one step on grey on whatever is loaded, which also shows whether the engines work.

        The canvas is `side` pixels, or less on a CPU, which prepares nothing for a size.
        """
        grey = np.full((8, 8, 3), 127, np.uint8)
        for pipeline in self._loaded:
            size = min(side, WARM_SIDE) if pipeline.models.unet.engine.device == "cpu" else side
            pipeline(image=grey, width=size, height=size, offset_x=size // 2, num_inference_steps=1)

    def close(self) -> None:
        """Free the engines."""
        loaded_since = self._shared.models.engines.keys() - self._loaded[0].models.engines.keys()
        for part in loaded_since:
            self._shared.models.engines[part].close()
        for pipeline in self._loaded:
            pipeline.close()
        if self._shared.safety_checker is not None:
            self._shared.safety_checker.close()

    def __enter__(self) -> Self:
        """Return the pipeline."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipeline."""
        self.close()

    def _several(self) -> bool:
        return self._running > 1


_SWITCHED = ("unet", "vae_encoder", "vae_decoder")


def _lanes(at_once: int) -> int:
    return min(at_once, usable_cores())


def _rows_in_memory(feeds: Mapping[str, Array]) -> int:
    """How many rows of these latents a UNet call on a CPU may have."""
    height, width = (FACTOR * side for side in feeds["sample"].shape[2:])
    return ROWS * pictures_per_call(width, height)


class _Switch(EngineDecorator):
    """Runs on `twin` while there are several requests, and on `alone` otherwise."""

    def __init__(self, alone: Engine, twin: Engine, several: Callable[[], bool]) -> None:
        super().__init__(alone)
        self._twin, self._several = twin, several

    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        """Run the engine that suits the moment."""
        return (self._twin if self._several() else self.engine).run(feeds, wanted)
