"""Writes `engine_set.json` for a folder in Optimum's layout: the last step of an export and of an adoption.

Plans that are built later enter it here too. The facts are read by the runtime's own reader from the folder's configs
and from the graphs' headers, so that manifest and folder cannot disagree. Weights in files of their own are hashed, not
loaded.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from outpaint_engine.components import TINY_DECODER
from outpaint_engine.engine_set import (
    FORMAT_VERSION,
    MANIFEST,
    PARITY,
    PARTS,
    Artifact,
    EngineSet,
    digest_of,
    regular_file,
)
from outpaint_engine.engine_set.weights import WEIGHT_MAP
from outpaint_engine.errors import EngineSetError
from outpaint_engine.safety.checker import CONCEPTS, PREPARATION
from outpaint_engine.safety.checker import PART as CHECKER

from .graphs.forms import Form
from .latent_colours import fit_latent_colours
from .layout import GRAPHS, MODEL_FILE

__all__ = [
    "PartFacts",
    "check_graph",
    "opened_by_configs",
    "with_artifacts",
    "with_latent_colours",
    "write_manifest",
    "write_parity",
]

NATIVE_OPERATORS = ("Attention", "GroupNormalization", "MultiHeadAttention")
PRECISIONS: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}
FILES = ("model_index.json", "scheduler/scheduler_config.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class PartFacts:
    """What only the writer of a part's graphs knows: their forms, the precision asked for, the parity measured.

    `precision` is "" where the graphs are to tell; `parity` is by file.
    """

    forms: Sequence[Form] = (Form(MODEL_FILE),)
    precision: str = ""
    parity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_manifest(folder: Path, source: Mapping[str, Any], parts: Mapping[str, PartFacts]) -> EngineSet:
    """Write the manifest of `folder`, which has none yet, and open the set with it.

    `source` holds name, revision, license and whether it is synthetic; `parts` what is known of each part, in the order
    in which the manifest names them.
    """
    plain = opened_by_configs(folder)
    artifacts = [_artifact(folder, part, form, facts) for part, facts in parts.items() for form in facts.forms]
    content = {
        "format_version": FORMAT_VERSION,
        "source": dict(source),
        "unet_channels": plain.unet_channels,
        "latent_scale": plain.latent_scale,
        "latent_factor": plain.latent_factor,
        "native_size": plain.native_size,
        "prediction_type": plain.prediction_type,
        "latent_colours": fit_latent_colours(folder, plain.latent_scale),
        "artifacts": [asdict(artifact) for artifact in artifacts],
        "files": {relative: digest_of(regular_file(folder, relative)) for relative in _config_files(folder)},
    }
    _write_whole(folder / MANIFEST, content)
    return EngineSet.open(folder, verify=False)


def with_artifacts(engines: EngineSet, artifacts: Sequence[Artifact]) -> EngineSet:
    """Let the manifest name `artifacts` instead of those it has, and open the set with it.

    The graphs must stay the same ones: what `outpaint-export parity` found of whole runs goes on to count.
    """
    return _with(engines, {"artifacts": [asdict(artifact) for artifact in artifacts]})


def with_latent_colours(engines: EngineSet) -> EngineSet:
    """Let the manifest say which colours latents have, and open the set with it."""
    return _with(engines, {"latent_colours": fit_latent_colours(engines.folder, engines.latent_scale)})


def _with(engines: EngineSet, changes: Mapping[str, Any]) -> EngineSet:
    manifest = engines.folder / MANIFEST
    content = json.loads(manifest.read_text(encoding="utf-8"))
    _write_whole(manifest, {**content, **changes})
    changed = EngineSet.open(engines.folder, verify=False)
    if engines.parity:
        write_parity(changed, engines.parity)
    return changed


def write_parity(engines: EngineSet, measured: Mapping[str, Any]) -> None:
    """Let the figures of whole runs in `measured` count for this set."""
    _write_whole(engines.folder / PARITY, {**measured, "engine_set": engines.digest})


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old content or the new one, never a part."""
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def opened_by_configs(folder: Path) -> EngineSet:
    """The set in a folder that has no manifest, with the facts of its configs."""
    try:
        return EngineSet.open(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"The configs in {folder} lack or misstate {error}. Copy them from the checkpoint, or export it again."
        ) from error


def check_graph(folder: Path, part: str, channels: int) -> None:
    """Check that a folder's graph of `part` can be read and has the part's names and the UNet's `channels`.

    Raises:
        EngineSetError: it is not so; or weights beside the graph are missing.
    """
    path = regular_file(folder, f"{part}/{MODEL_FILE}")
    model = _header(path)
    for name in _external_files(part, model.graph):
        regular_file(folder, name)
    inputs, outputs = _described(model)
    found, given, names = {item["name"] for item in inputs}, {item["name"] for item in outputs}, GRAPHS[part]
    if found - {"attention_mask"} != set(names.inputs) or not set(names.outputs) <= given:
        raise EngineSetError(
            f"{path} takes {', '.join(item['name'] for item in inputs)} and gives "
            f"{', '.join(item['name'] for item in outputs)}; expected {', '.join(names.inputs)} "
            f"and {', '.join(names.outputs)}. Export the checkpoint again, with this program or a newer Optimum."
        )
    stated = next(item["shape"][1] for item in inputs if item["name"] == "sample") if part == "unet" else None
    if isinstance(stated, int) and stated != channels:
        raise EngineSetError(
            f"{folder / part}: the graph takes {stated} channels and config.json says {channels}. "
            "Export the checkpoint again."
        )


def _config_files(folder: Path) -> list[str]:
    """The files beside the graphs that belong to the set, relative to `folder`."""
    optional = ["model_index.json", *(f"tokenizer/{name}" for name in TOKENIZER_FILES)]
    optional += [f"{part}/{name}" for part in (*PARTS, CHECKER, TINY_DECODER) for name in ("config.json", WEIGHT_MAP)]
    optional += [CONCEPTS, PREPARATION]
    found = [FILES[1], *(relative for relative in optional if (folder / relative).exists())]
    if not {"tokenizer/tokenizer.json", "tokenizer/vocab.json"} & set(found):
        raise EngineSetError(f"{folder} has no tokenizer. Copy the `tokenizer` folder of the checkpoint into it.")
    return found


def _artifact(folder: Path, part: str, form: Form, facts: PartFacts) -> Artifact:
    relative = f"{part}/{form.file}"
    model = _header(regular_file(folder, relative))
    inputs, outputs = _described(model)
    counted = Counter(node.op_type for node in model.graph.node)
    parity = facts.parity.get(form.file)
    files = (relative, *_external_files(part, model.graph))
    return Artifact(
        part=part,
        format="onnx",
        file=relative,
        precision=facts.precision or _precision(model.graph),
        files={name: digest_of(regular_file(folder, name)) for name in files},
        opset=max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=None),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        parity={**parity, "operators": {name: counted[name] for name in NATIVE_OPERATORS}} if parity else {},
        graph=form.graph,
        variant=form.variant,
        backends=form.backends,
    )


def _header(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise EngineSetError(f"{path} is not an ONNX file: {error}. Export the checkpoint again.") from error


def _described(model: onnx.ModelProto) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Name, numpy element type and shape of each input and of each output; free axes by name."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return (
        [_value(value) for value in model.graph.input if value.name not in weights],
        [_value(value) for value in model.graph.output],
    )


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim]
    return {"name": value.name, "dtype": str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), "shape": shape}


def _external_files(part: str, graph: onnx.GraphProto) -> list[str]:
    """Files with weights beside the graph, relative to the set's folder."""
    entries = (entry for tensor in graph.initializer for entry in tensor.external_data)
    return sorted({f"{part}/{entry.value}" for entry in entries if entry.key == "location"})


def _precision(graph: onnx.GraphProto) -> str:
    """Element type that holds most of the weights' numbers."""
    numbers: Counter[int] = Counter()
    for tensor in graph.initializer:
        numbers[tensor.data_type] += math.prod(tensor.dims)
    return PRECISIONS.get(numbers.most_common(1)[0][0], "mixed") if numbers else "fp32"
