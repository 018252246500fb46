"""From an engine set to plans beside its ONNX files: each part typed, compared, built, and entered in the manifest.

The set is usable at every moment. Plans are made in a scratch folder; old ones leave the manifest before their files
are replaced, and new ones enter it when all are in place.
"""

import gc
import importlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from outpaint_engine.engine_set import PARTS, Artifact, EngineSet, digest_of
from outpaint_engine.engines import Flavour, compute_capability, find_backend
from outpaint_engine.errors import BackendUnavailable, EngineSetError
from outpaint_engine.prompts import CHUNK

from ..graphs.half_precision import write_half
from ..layout import MODEL_FILE
from ..manifest import with_artifacts
from .build import BuildOptions, build_plan
from .check import compare_half
from .profiles import Buckets, shape_profiles

__all__ = ["STAGES", "PlanOptions", "build_plans"]

STAGES = ("type", "check", "build")
PRECISION = "fp16"
"""With islands of float32, see `float32_islands`."""


@dataclass(frozen=True)
class PlanOptions:
    """How to build plans.

    `targets` are compute capabilities such as "sm89", none for the library's default; `report` is called with a part,
    one of `STAGES` and the share of it that is done, in [0, 1].
    """

    flavour: Flavour
    buckets: Buckets
    targets: tuple[str, ...] = ()
    report: Callable[[str, str, float], None] = field(default=lambda part, stage, share: None)

    @property
    def words(self) -> str:
        """The options of the command line that say the same."""
        sizes = ",".join(f"{width}x{height}" for width, height in self.buckets.sizes)
        words = f"--flavour {self.flavour.option} --sizes {sizes} --batch {','.join(map(str, self.buckets.rows))}"
        return f"{words} --target {','.join(self.targets)}" if self.targets else words


def build_plans(folder: Path, options: PlanOptions) -> EngineSet:
    """Build the plans of all parts of the set in `folder`, enter them in its manifest, and return the set.

    Raises:
        BackendUnavailable: the library is missing, or has to build on a GPU and finds none.
        EngineSetError: the set has no manifest, or a part has no attention as one operator.
        ConversionError: a part cannot be typed or built.
        ParityError: a part's float16 graph is too far from its float32 one.
    """
    library = _library(options.flavour)
    engines = EngineSet.open(folder)
    if not engines.digest:
        raise EngineSetError(f"{folder} has no manifest. Write one first: `outpaint-export adopt {folder}`.")
    (folder / "engines" / options.flavour.name).mkdir(parents=True, exist_ok=True)
    # Inside the set, since the typed graphs need gigabytes that a temporary folder may not have.
    with tempfile.TemporaryDirectory(prefix=".plans-", dir=folder) as scratch:
        made = [_build(library, engines, part, Path(scratch), options) for part in PARTS]
        kept = [artifact for artifact in engines.artifacts if artifact.format != options.flavour.name]
        engines = with_artifacts(engines, kept)
        for artifact in made:
            place = folder / artifact.file
            (Path(scratch) / place.name).replace(place)
        return with_artifacts(engines, [*kept, *made])


def _library(flavour: Flavour) -> ModuleType:
    """The library; one that builds on the GPU that is to run the plan must find it."""
    try:
        library = importlib.import_module(flavour.module)
    except ImportError as error:
        raise BackendUnavailable(
            f"{flavour.module} cannot be imported ({error}), so no plan can be built. "
            f'Try: pip install "outpaint_engine[{flavour.name},export]"'
        ) from error
    probe = find_backend(flavour.name).probe()
    if not probe.usable and not flavour.portable:
        raise BackendUnavailable(
            f"{flavour.name} builds plans on the GPU that is to run them, but {probe.reason}. Build there, or use "
            "`--flavour rtx`, which needs none."
        )
    return library


def _build(library: ModuleType, engines: EngineSet, part: str, scratch: Path, options: PlanOptions) -> Artifact:
    """Build one part's plan in `scratch`; what is returned names the file by the place it is for."""
    source = engines.artifact(part)
    if engines.text_length != CHUNK:
        raise EngineSetError(
            f"{engines.folder} has a text encoder of {engines.text_length} tokens; plans are built for {CHUNK}. "
            "Run it on another backend, see `outpaint devices`."
        )
    half, parity = _half(engines, source, scratch, options)
    options.report(part, "build", 0)
    plan = scratch / f"{part}.plan"
    profiles = shape_profiles(source, engines.latent_factor, options.buckets)
    cache = None if options.flavour.portable else engines.folder / "engines" / options.flavour.name / "timing.cache"
    settings = BuildOptions(options.targets, cache, lambda share: options.report(part, "build", share))
    fusion = build_plan(library, half, profiles, plan, settings)
    shutil.rmtree(scratch / part, ignore_errors=True)
    place = f"engines/{options.flavour.name}/{plan.name}"
    return replace(
        source,
        format=options.flavour.name,
        file=place,
        precision=PRECISION,
        files={place: digest_of(plan)},
        built_for={
            "version": library.__version__,
            "targets": list(options.targets) if options.flavour.portable else [compute_capability()],
            "options": options.words,
            "profiles": [{name: [list(shape) for shape in bounds] for name, bounds in p.items()} for p in profiles],
            "source": dict(source.files),
        },
        parity={**parity, "attention": asdict(fusion)},
    )


def _half(engines: EngineSet, source: Artifact, scratch: Path, options: PlanOptions) -> tuple[Path, Mapping[str, Any]]:
    """The part's float16 graph, and how far it is off: from the float32 one, or, exported so, from the checkpoint."""
    graph, half = engines.folder / source.file, scratch / source.part / MODEL_FILE
    if source.precision == PRECISION:
        return graph, source.parity
    half.parent.mkdir()
    options.report(source.part, "type", 0)
    write_half(graph, source.part, half)
    # The graph's nodes refer to each other, so its mapped weights stay until they are looked for.
    gc.collect()
    options.report(source.part, "check", 0)
    return half, compare_half(graph, half, source, engines.latent_factor)
