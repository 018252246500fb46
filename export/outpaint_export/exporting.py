"""Exports one checkpoint to an engine set: part by part, each checked before the next one is loaded.

This is the only module that knows the order of things. Peak memory is that of the largest part: its module is
recorded, exported and dropped before its graph is run.
"""

import gc
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
from safetensors.torch import save

from outpaint_engine.components import ADDED_WORDS, TINY_DECODER
from outpaint_engine.engine_set import PARTS, EngineSet
from outpaint_engine.safety.checker import CONCEPTS, PREPARATION
from outpaint_engine.samplers import scheduler_of

from .errors import SourceError
from .graphs.conversion import OPSET, Precision, convert, named_weights
from .graphs.forms import ONE_KERNEL, Form, write_forms
from .graphs.modules import (
    FACTOR,
    PartGraph,
    TextEncoderGraph,
    TinyDecoderGraph,
    UnetGraph,
    VaeDecoderGraph,
    VaeEncoderGraph,
)
from .graphs.safety_checker import SafetyCheckerGraph
from .layout import MODEL_FILE, PIPELINES
from .manifest import PartFacts, write_manifest
from .parity.graphs import BOUNDS, Reference, compare, compare_shallow, compare_words
from .parity.recording import record
from .sources.checkpoint import Sources, check_text_encoder, check_unet, check_vae
from .sources.safety import CHECKER, check_safety_checker
from .sources.tiny_decoder import check_tiny_decoder
from .sources.tokenizer_files import write_tokenizer
from .staging import staged

__all__ = ["ExportOptions", "export_parts"]


def _say_nothing(part: str, stage: str) -> None:
    """The report of an export that nobody watches."""


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    `precision` is "fp32", "fp16-weights" (stored as float16, computed in float32) or "fp16" (computed in float16
    but for islands, for GPUs); `overwrite` allows replacing an engine set; `report` is called with a part and one of
    `layout.STAGES` before that stage begins. `quick` compares graphs and checkpoint on small random inputs alone, not
    on flat, half masked and random pictures of the native size and twice that, which takes minutes at full size.
    """

    precision: Precision = "fp32"
    opset: int = OPSET
    overwrite: bool = False
    report: Callable[[str, str], None] = _say_nothing
    quick: bool = False


def export_parts(sources: Sources, out: Path, options: ExportOptions = ExportOptions()) -> EngineSet:  # noqa: B008
    """Write an engine set to the folder `out` and return it; on any failure nothing is left behind.

    Raises:
        SourceError: a module is not of the Stable Diffusion 1.5 family.
        DestinationError: `out` is taken.
        ConversionError: a module cannot be turned into a graph.
        ParityError: a graph does not answer what its module answers.
    """
    # A configuration that the runtime's default does not take is refused now, not at the first run.
    scheduler_of("DDIM", sources.scheduler)
    with staged(out, options.overwrite) as folder:
        parts: dict[str, PartFacts] = {}
        for part, load in _loaders(sources).items():
            options.report(part, "load")
            of_part = _options_of(part, options)
            forms, references = _write_graphs(load, folder / part, of_part)
            gc.collect()
            options.report(part, "check")
            parity = {form.file: _parity(folder / part, form, references, of_part) for form in forms}
            parts[part] = PartFacts(forms, of_part.precision, parity)
        _write_configs(sources, folder)
        write_manifest(folder, asdict(sources.origin), parts)
    return EngineSet.open(out)


def _options_of(part: str, options: ExportOptions) -> ExportOptions:
    """One call a picture is not worth half a number's digits; and beside plans the parts of some sets run on a CPU."""
    computes_in_half = options.precision == "fp16"
    return replace(options, precision="fp16-weights") if part not in PARTS and computes_in_half else options


def _loaders(sources: Sources) -> dict[str, Callable[[], PartGraph]]:
    """For each part a function that loads its module, checks it and makes its graph; in the order of the parts."""
    text_width = 0

    def text_encoder() -> PartGraph:
        nonlocal text_width
        module: Any = sources.text_encoder()
        check_text_encoder(module, sources.tokenizer)
        text_width = int(module.config.hidden_size)
        return TextEncoderGraph(module)

    def unet() -> PartGraph:
        module: Any = sources.unet()
        check_unet(module, text_width)
        return UnetGraph(module)

    def vae() -> Any:
        module: Any = sources.vae()
        check_vae(module)
        return module

    loaders: dict[str, Callable[[], PartGraph]] = {
        "text_encoder": text_encoder,
        "unet": unet,
        "vae_encoder": lambda: VaeEncoderGraph(vae()),
        "vae_decoder": lambda: VaeDecoderGraph(vae()),
    }
    if (load_tiny := sources.tiny_decoder) is not None:

        def tiny_decoder() -> PartGraph:
            module: Any = load_tiny()
            check_tiny_decoder(module)
            return TinyDecoderGraph(module)

        loaders[TINY_DECODER] = tiny_decoder
    if (safety := sources.safety_checker) is None:
        return loaders

    def safety_checker() -> PartGraph:
        module: Any = safety.load()
        check_safety_checker(module, safety.preparation)
        return SafetyCheckerGraph(module)

    return {**loaders, CHECKER: safety_checker}


def _write_graphs(
    load: Callable[[], PartGraph], folder: Path, options: ExportOptions
) -> tuple[list[Form], list[Reference]]:
    """Export one part with its config into `folder`; the module is free for collection when this returns."""
    graph = load().eval().float()
    folder.mkdir()
    _write_json(folder / "config.json", graph.config)
    if isinstance(graph, SafetyCheckerGraph):
        (folder.parent / CONCEPTS).write_bytes(save(graph.concepts))
    try:
        references = record(graph, () if options.quick else _sides(folder.parent))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:  # whatever torch meets in a strange architecture
        raise SourceError(
            f"The {graph.part} of this checkpoint does not run: {error} Only checkpoints of the Stable Diffusion 1.5 "
            "family can be exported."
        ) from error
    options.report(graph.part, "export")
    model = convert(graph, options.precision, options.opset)
    # What a LoRA may change has to be found, number by number.
    names = named_weights(model, graph) if graph.part in PARTS else None
    return write_forms(model, folder, graph.part, names), references


def _sides(folder: Path) -> tuple[int, ...]:
    """The canvas that the model was trained at and one twice as large, in pixels; none before the UNet is read."""
    config = folder / "unet" / "config.json"
    if not config.exists():
        return ()
    native = int(json.loads(config.read_text(encoding="utf-8"))["sample_size"]) * FACTOR
    return native, 2 * native


def _parity(folder: Path, form: Form, references: list[Reference], options: ExportOptions) -> dict[str, Any]:
    path = folder / form.file
    if form.variant == ONE_KERNEL:
        # Its operators run on a GPU only; tests compare them with kernels written out.
        return {}
    if form.graph == "shallow":
        return compare_shallow(folder.name, folder / form.file.replace("shallow", "model"), path)
    if form.graph == ADDED_WORDS:
        return compare_words(folder.name, folder / MODEL_FILE, path, BOUNDS[options.precision])
    return compare(folder.name, path, references, options.precision)


def _write_configs(sources: Sources, folder: Path) -> None:
    """The files beside the graphs, as diffusers would save them for the pipeline."""
    unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    text_encoder = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    write_tokenizer(sources.tokenizer, folder / "tokenizer", int(text_encoder["max_position_embeddings"]))
    scheduler = dict(sources.scheduler)
    scheduler.setdefault("_class_name", "DDIMScheduler")
    if "_use_default_values" in scheduler:
        # diffusers lists them in an order of its own each time, and exporting again should give the same files.
        scheduler["_use_default_values"] = sorted(scheduler["_use_default_values"])
    if sources.safety_checker is not None:
        (folder / PREPARATION).parent.mkdir()
        _write_json(folder / PREPARATION, sources.safety_checker.preparation)
    (folder / "scheduler").mkdir()
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(
        folder / "model_index.json",
        {
            "_class_name": PIPELINES[int(unet["in_channels"])],
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", scheduler["_class_name"]],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            # Its graph is for this program alone: Optimum and diffusers would look for torch's weights.
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
        },
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
