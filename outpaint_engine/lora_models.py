"""LoRAs at run time: the files that a pipeline may use, and the parts of its model with some of them merged in.

A merged part is opened when a run first asks for its combination of LoRAs and strengths, as the plain one was opened:
from the same graphs, with the changed weights in the place of the file's. The latest combinations are kept.
"""

import gc
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import NamedTuple

from .adapters import UsedLora, changeable, checked_strength, merged, read_lora
from .components import ADDED_WORDS, Models, ShallowUnet, TextEncoder, Unet
from .engine_set import EngineSet, digest_of
from .engine_set.weights import StoredWeight, initializers_in, stored_weights
from .engines import SHALLOW, Backend, Engine, EngineOptions, Loading, find_backend
from .errors import AdapterError, RequestError
from .shapes import shapes_to_prepare
from .tensors import Array, Shapes

__all__ = ["LoraModels", "Loras"]

PARTS = ("unet", "text_encoder")
SUFFIX = ".safetensors"
COMPONENTS: Mapping[str, type[Unet | TextEncoder]] = {
    "unet": Unet,
    SHALLOW: ShallowUnet,
    "text_encoder": TextEncoder,
}
NAMED_AT_ONCE = 10
"""How many names an error lists."""


@dataclass(frozen=True)
class Loras:
    """Which LoRAs prompts may name, and how much memory the parts that are merged with them may keep.

    A prompt names a `.safetensors` file in `folder` without its ending: `<lora:name:0.8>`; with `names` only those.
    `most_bytes` bounds what is kept of combinations that were used before, beside the model without any; the latest is
    kept whatever its size.

    Raises:
        AdapterError: there is no such folder, or no file of one of the names, or one cannot be used with the model.
    """

    folder: Path | None = None
    names: tuple[str, ...] | None = None
    most_bytes: int = 4 * 2**30

    @classmethod
    def of(cls, given: "str | Path | Loras | None") -> "Loras":
        """A folder, what is given, or none at all."""
        return given if isinstance(given, Loras) else cls(None if given is None else Path(given))

    def files(self) -> dict[str, Path]:
        """The files that prompts may name, by name."""
        if self.folder is None:
            return {}
        if not self.folder.is_dir():
            raise AdapterError(f"There is no folder of LoRAs at {str(self.folder)!r}. Give one of .safetensors files.")
        found = {path.stem: path for path in sorted(self.folder.glob(f"*{SUFFIX}")) if path.is_file()}
        for name in self.names or ():
            if name not in found:
                raise AdapterError(f"{self.folder} has no {name + SUFFIX!r}. Put it there, or leave the name out.")
        return found if self.names is None else {name: found[name] for name in self.names}


class _Facts(NamedTuple):
    """Of a file that was read: what tells whether it was written to since, its SHA-256, and which parts it changes."""

    stamp: tuple[int, int]
    sha256: str
    parts: frozenset[str]


_Key = tuple[str, str, tuple[UsedLora, ...]]
"""A component, its graph, and what is merged into it."""


class LoraModels:
    """The LoRAs of one pipeline. Threads may share it; while one opens a combination, others that want one wait."""

    def __init__(self, engine_set: EngineSet, options: EngineOptions, loras: Loras) -> None:
        self._engine_set, self._options, self._most_bytes = engine_set, options, loras.most_bytes
        self._allowed = loras.files()
        self._files = dict(self._allowed)
        self._strengths: dict[str, float] = {}
        self._facts: dict[Path, _Facts] = {}
        self._kept: OrderedDict[_Key, tuple[Unet | TextEncoder, int]] = OrderedDict()
        self._lock = threading.Lock()
        # Files that are named one by one are tried now, not when the first prompt names them.
        for name in loras.names or ():
            self._known(self._allowed[name])

    @property
    def strengths(self) -> dict[str, float]:
        """What every run is painted with, by name, in the order of merging."""
        return dict(self._strengths)

    def load(self, base: Models, path: str | Path, strength: float = 1.0, name: str | None = None) -> str:
        """Paint with the LoRA in a file from now on, and return its name; a failure changes nothing.

        Raises:
            AdapterError: the file cannot be used with this model, or its name is another file's.
            RequestError: the strength is no number from -100 to 100.
            BackendUnavailable: the backend cannot merge.
            EngineSetError: the set does not say where its weights are.
        """
        file = Path(path)
        name = file.stem if name is None else name
        number = checked_strength(name, strength)
        with self._lock:
            if name not in self._strengths and self._files.get(name, file) != file:
                raise AdapterError(f"{self._files[name]} is the LoRA {name!r} already. Give {file} another name.")
            files, strengths = {**self._files, name: file}, {**self._strengths, name: number}
            self._merged(base, self._used(files, strengths), shallow=False)
            self._files, self._strengths = files, strengths
        return name

    def unload(self, name: str) -> None:
        """Paint without a LoRA that was loaded.

        Raises:
            RequestError: none of that name is loaded.
        """
        with self._lock:
            if name not in self._strengths:
                raise RequestError(f"No LoRA {name!r:.60} is loaded; {_listed(self._strengths)}.")
            self._strengths = {other: number for other, number in self._strengths.items() if other != name}
            self._files = self._allowed | {other: self._files[other] for other in self._strengths}

    def models(self, base: Models, tags: Mapping[str, float], *, shallow: bool = False) -> Models:
        """`base` with every loaded LoRA merged in, and those that a prompt's `tags` name, at the tags' strengths.

        `shallow` asks for the UNet's shallow part too, if `base` has one.

        Raises:
            RequestError: a tag's name is none that may be used.
            AdapterError: a file cannot be used; see `load` for the rest.
        """
        for name in tags:
            if name not in self._files:
                allow = (
                    "Leave the tag out."
                    if self._files
                    else ("Allow a folder of LoRAs (loras=FOLDER, --loras FOLDER), or leave the tag out.")
                )
                raise RequestError(f"The prompt names the LoRA {name!r:.60}; {_listed(self._files)}. {allow}")
        if not tags and not self._strengths:
            return base
        with self._lock:
            return self._merged(base, self._used(self._files, {**self._strengths, **tags}), shallow=shallow)

    def close(self) -> None:
        """Free every merged engine."""
        with self._lock:
            for component, _ in self._kept.values():
                component.engine.close()
            self._kept.clear()

    def _used(self, files: Mapping[str, Path], strengths: Mapping[str, float]) -> dict[UsedLora, Path]:
        return {
            UsedLora(name, number, self._known(files[name]).sha256): files[name] for name, number in strengths.items()
        }

    def _known(self, path: Path) -> _Facts:
        """The facts of a file, which is read where it was not since it was written to."""
        known = self._facts.get(path)
        try:
            facts = path.stat()
        except OSError:
            # What is kept of a file that is gone can be used; without that, reading says what is wrong.
            stamp = known.stamp if known else (0, 0)
        else:
            stamp = (facts.st_size, facts.st_mtime_ns)
        if known is None or known.stamp != stamp:
            parts = frozenset(read_lora(path, self._shapes))
            known = self._facts[path] = _Facts(stamp, digest_of(path), parts)
        return known

    @cached_property
    def _stored(self) -> dict[str, Mapping[str, StoredWeight]]:
        return {part: stored_weights(self._engine_set, part) for part in PARTS}

    @cached_property
    def _shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        return {part: changeable(stored) for part, stored in self._stored.items()}

    def _merged(self, base: Models, used: Mapping[UsedLora, Path], *, shallow: bool) -> Models:
        active = {lora: path for lora, path in used.items() if lora.strength}
        changed = frozenset().union(*(self._known(path).parts for path in active.values()))
        graphs = {"text_encoder": ADDED_WORDS if base.text_encoder.takes_words else "model", "unet": "model"}
        graphs |= {SHALLOW: SHALLOW} if shallow and base.shallow is not None else {}
        keys = {name: (name, graph, tuple(active)) for name, graph in graphs.items() if _part_of(name) in changed}
        missing = [key for key in keys.values() if key not in self._kept]
        if missing:
            backend = find_backend(base.unet.engine.backend)
            backend.require_changes()
            self._open(base, backend, missing, active, keep=set(keys.values()))
        found = {name: self._kept[key][0] for name, key in keys.items()}
        for key in keys.values():
            self._kept.move_to_end(key)
        # A shallow part goes with the UNet that it was cut from.
        alone = {SHALLOW: None} if "unet" in changed and SHALLOW not in found else {}
        return base._replace(loras=tuple(used), **found, **alone)  # type: ignore[arg-type]

    def _open(
        self,
        base: Models,
        backend: Backend,
        missing: Sequence[_Key],
        active: Mapping[UsedLora, Path],
        keep: Collection[_Key],
    ) -> None:
        changes = [(read_lora(path, self._shapes), lora.strength) for lora, path in active.items()]
        for part in dict.fromkeys(_part_of(name) for name, _, _ in missing):
            arrays = merged(self._stored[part], [(found.get(part, {}), strength) for found, strength in changes])
            for key in missing:
                if _part_of(key[0]) == part:
                    loading = self._loading(backend, key, arrays)
                    size = self._size(backend, loading)
                    self._make_room(size, keep)
                    self._kept[key] = (self._component(base, key[0], backend.load(loading)), size)

    def _loading(self, backend: Backend, key: _Key, arrays: Mapping[str, Array]) -> Loading:
        name, graph, _ = key
        part = _part_of(name)
        return Loading(self._engine_set, part, self._options, self._ready(backend, part, graph), graph, arrays)

    def _component(self, base: Models, name: str, engine: Engine) -> Unet | TextEncoder:
        return TextEncoder(engine, like=base.text_encoder) if name == "text_encoder" else COMPONENTS[name](engine)

    def _ready(self, backend: Backend, part: str, graph: str) -> tuple[Shapes, ...]:
        """The shapes to make engines of fixed shapes for: those of the part without LoRAs."""
        if graph == "model":
            return shapes_to_prepare(self._engine_set, self._options.buckets)[part]
        if graph == SHALLOW:
            return ()
        artifact = self._engine_set.artifact(part, backend.format, backend.name, graph)
        return (TextEncoder.shapes_with_words(self._engine_set, artifact.inputs),)

    def _size(self, backend: Backend, loading: Loading) -> int:
        """Bytes of the weights, in float32, that an engine has in memory of its own."""
        _, path = loading.artifact(backend)
        shapes = {place.initializer: place.shape for place in self._stored[loading.part].values()}
        return backend.own_bytes(loading, {name: 4 * prod(shapes[name]) for name in initializers_in(path, shapes)})

    def _make_room(self, needed: int, keep: Collection[_Key]) -> None:
        """Drop what was used longest ago, but what is in `keep`, until `needed` more bytes fit."""
        dropped = False
        for key in [key for key in self._kept if key not in keep]:
            if sum(size for _, size in self._kept.values()) + needed <= self._most_bytes:
                break
            # Not closed: another thread may still be running it.
            del self._kept[key]
            dropped = True
        if dropped:
            # A text encoder and the texts it keeps refer to each other, and would keep their engine until some time.
            gc.collect()


def _part_of(component: str) -> str:
    """The part whose weights a component has."""
    return "unet" if component == SHALLOW else component


def _listed(names: Mapping[str, object]) -> str:
    shown = ", ".join(map(repr, list(names)[:NAMED_AT_ONCE])) + (", ..." if len(names) > NAMED_AT_ONCE else "")
    return f"there are {shown}" if names else "there is none here"
