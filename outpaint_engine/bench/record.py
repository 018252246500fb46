"""What a benchmark is asked for and what it found: the dataclasses here are the schema of its JSON lines.

A line is one `Measurement`, field by field under the same names; tuples are arrays. `SCHEMA` is in every line and
changes with any field's name or meaning. Times are seconds, sizes bytes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from ..engines import EngineOptions
from ..errors import RequestError

__all__ = ["SCHEMA", "BenchOptions", "Environment", "Gpu", "Measurement", "Ran", "Spread", "Starts", "Steps"]

SCHEMA = "outpaint-bench/1"


@dataclass(frozen=True)
class BenchOptions:
    """What to run.

    `width` and `height` are the canvas in pixels, None is the set's native size; `batch` pictures share each UNet call;
    `warmup` pictures are run and not counted, then `repeats` are; `starts` fresh processes load the set and paint one
    picture before that.

    Raises:
        RequestError: a count is out of its range.
    """

    engines: str = "demo"
    device: str = "auto"
    load: EngineOptions = EngineOptions()
    width: int | None = None
    height: int | None = None
    scheduler: str = "DDIM"
    steps: int = 25
    guidance_scale: float = 7.5
    batch: int = 1
    warmup: int = 1
    repeats: int = 5
    starts: int = 1

    def __post_init__(self) -> None:
        """Check the counts; the rest is checked by the request."""
        for name, least in (("batch", 1), ("warmup", 0), ("repeats", 1), ("starts", 0)):
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be a whole number from {least}, not {getattr(self, name)}.")


@dataclass(frozen=True)
class Spread:
    """One figure measured several times: `values` in the order in which they were measured, and their percentiles.

    Percentiles are interpolated linearly, so few values put p99 close to the largest.
    """

    p50: float
    p90: float
    p99: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of at least one value."""
        kept = tuple(round(float(value), 7) for value in values)
        p50, p90, p99 = (round(float(each), 7) for each in np.percentile(kept, (50, 90, 99)))
        return cls(p50, p90, p99, kept)


@dataclass(frozen=True)
class Ran:
    """What really ran: the backend, its device, the precision that it computed in, and the engine set.

    `engine_set` is the SHA-256 of the set's manifest, empty where it has none; `synthetic` sets have random weights, so
    their pictures say nothing. `width` and `height` are the canvas; `calls` the UNet calls of one picture, `rows` the
    batch rows of the first of them (guidance doubles them).
    """

    backend: str
    device: str
    precision: str
    engine_set: str
    source: str
    synthetic: bool
    width: int
    height: int
    calls: int
    rows: int


@dataclass(frozen=True)
class Steps:
    """Every UNet call of every counted picture, in order: `seconds` from one yield of the iterator to the next.

    `engine` is the part inside `Engine.run`, `outside` the rest (guidance, masks, the sampler, the check for NaN), and
    `outside_share` the median of outside / seconds.
    """

    seconds: Spread
    engine: Spread
    outside: Spread
    outside_share: float


@dataclass(frozen=True)
class Starts:
    """Fresh processes, timed from outside, from their start on.

    `imported`: the package is imported; `ready`: the engine set is checked against its manifest and loaded;
    `first_picture`: one picture is painted. `peak_rss` and `peak_device` are one number a process; the device's is what
    the whole card held beyond what it held before, and None without an NVIDIA card. The first process of several may
    find caches cold, of the disk and of compiled models.
    """

    imported: Spread
    ready: Spread
    first_picture: Spread
    peak_rss: tuple[int, ...]
    peak_device: tuple[int, ...] | None


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card as nvidia-smi describes it; `clock` in MHz and `power` in W at the time of asking."""

    name: str
    driver: str
    memory: int
    clock: str
    power: str


@dataclass(frozen=True)
class Environment:
    """What figures depend on, read before anything was loaded.

    `cpu_flags` are the vector extensions that engines make use of; `cores` those this process may run on; `threads`
    the variables that libraries read their thread counts from; `load_average` over 1, 5 and 15 minutes; `commit` of the
    checkout that the package lies in, with "+" where files differ from it, empty outside of one.
    """

    system: str
    cpu: str
    cpu_flags: tuple[str, ...]
    cores: int
    memory: int
    gpus: tuple[Gpu, ...]
    versions: Mapping[str, str]
    commit: str
    threads: Mapping[str, str]
    load_average: tuple[float, ...]


@dataclass(frozen=True)
class Measurement:
    """One benchmark.

    `picture` is a whole request, from the decoded input to the finished output. `stages` are its parts, in order, and
    add up to it: `prepare` (canvas plan, tokens), `text_encoder`, `infill` (4-channel UNets), `vae_encoder`, `unet`
    (all steps), `vae_decoder`, `paste_back` (with the colour match), `quality`, and `rest` (noise, and what no other
    names). `engines` is the time inside `Engine.run` by part. `peak_rss` is that of the process that was measured.
    """

    schema: str
    date: str
    options: BenchOptions
    ran: Ran
    environment: Environment
    picture: Spread
    stages: Mapping[str, Spread]
    engines: Mapping[str, Spread]
    steps: Steps
    starts: Starts | None
    peak_rss: int

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))
