"""One engine for each shape that is run: compilers that know every axis make faster engines than those that do not.

Of the shapes seen the latest few are kept, which bounds the memory: each holds its own copy of the weights.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ..engine_set import EngineSet
from ..prompts import CHUNK
from ..tensors import Array
from .base import Bucket, Engine, EngineOptions, check_feeds

__all__ = ["FixedShapesEngine", "Shapes", "asked_shapes", "bucket_shapes"]

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names of inputs and their shapes, by name."""
KEPT_ENGINES = 2
"""A run with a guidance interval needs two: with guidance a call has twice as many rows as without."""


class FixedShapesEngine(Engine):
    """Runs each shape on an engine of its own, which `open_engine` makes; None asks it for one of free shapes.

    Engines for the shapes `ready` are made at once. At most as many are kept as were asked for, and never fewer than
    two; the one that was used longest ago goes first.
    """

    def __init__(self, name: str, open_engine: Callable[[Shapes | None], Engine], ready: Sequence[Shapes]) -> None:
        self._name, self._open = name, open_engine
        self._lock = threading.Lock()
        self._kept: OrderedDict[Shapes | None, Engine] = OrderedDict()
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
        with self._lock:
            engine = self._engine(tuple(sorted((name, value.shape) for name, value in feeds.items())))
            self._latest = engine
        return engine.run(feeds, wanted)

    def close(self) -> None:
        """Close every engine; running afterwards fails as with any closed engine."""
        with self._lock:
            for engine in self._kept.values():
                engine.close()
            closed = self._latest
            self._open = lambda shapes: closed
            self._kept.clear()

    def _engine(self, shapes: Shapes | None) -> Engine:
        engine = self._kept.get(shapes)
        if engine is None:
            while len(self._kept) >= self._most:
                # Not closed: another thread may still be running it.
                self._kept.popitem(last=False)
            engine = self._kept[shapes] = self._open(shapes)
        self._kept.move_to_end(shapes)
        return engine


def asked_shapes(engine_set: EngineSet, part: str, format: str, options: EngineOptions) -> list[Shapes]:
    """The shapes of a part that its engines are made ready for: the options' buckets, else the set's native size."""
    buckets = options.buckets or (Bucket(engine_set.native_size, engine_set.native_size),)
    return bucket_shapes(part, engine_set.artifact(part, format).inputs, buckets, engine_set.latent_factor)


def bucket_shapes(
    part: str, inputs: Iterable[Mapping[str, object]], buckets: Sequence[Bucket], factor: int
) -> list[Shapes]:
    """The shapes of a part's inputs for each bucket, the same one once; none where the manifest states no inputs.

    `inputs` are a manifest's, each with a name and a shape; `factor` is pixels per latent.
    """
    found: dict[Shapes, None] = {}
    for width, height, rows in buckets:
        scale = 1 if part == "vae_encoder" else factor
        picture = (rows if part == "unet" else 1, None, height // scale, width // scale)
        free = {4: picture, 3: (picture[0], CHUNK, None), 2: (1, CHUNK), 1: picture[:1], 0: ()}
        shapes = []
        for entry in inputs:
            axes = entry["shape"]
            assert isinstance(axes, Sequence)
            sizes = [axis if isinstance(axis, int) else free[len(axes)][at] for at, axis in enumerate(axes)]
            shapes.append((str(entry["name"]), tuple(int(size) for size in sizes if size is not None)))
        if shapes:
            found[tuple(sorted(shapes))] = None
    return list(found)
