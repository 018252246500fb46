"""Writes `engine_set.json` for a folder in Optimum's layout: the last step of an export, and all of an adoption.

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
from outpaint_engine.errors import EngineSetError

from .errors import DestinationError
from .layout import GRAPHS, MODEL_FILE

__all__ = ["PartFacts", "adopt", "with_artifacts", "write_manifest"]

NATIVE_OPERATORS = ("Attention", "GroupNormalization")
PRECISIONS: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}
FILES = ("model_index.json", "scheduler/scheduler_config.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class PartFacts:
    """What only the export knows of a part: the precision it was asked for and the parity measured."""

    precision: str
    parity: Mapping[str, Any] = field(default_factory=dict)


def adopt(folder: Path) -> EngineSet:
    """Write the manifest of a folder that Optimum made, change nothing else, and open it.

    Raises:
        DestinationError: the folder has a manifest already.
        EngineSetError: a part, a config or an external weight file is missing, or a graph has other names.
    """
    if (folder / MANIFEST).exists():
        raise DestinationError(
            f"{folder} has a manifest already. Check it with `outpaint engines verify {folder}`, or delete "
            f"{MANIFEST} there to write it again."
        )
    return write_manifest(folder, _opened_without(folder).source, {})


def write_manifest(folder: Path, source: Mapping[str, Any], parts: Mapping[str, PartFacts]) -> EngineSet:
    """Write the manifest of `folder`, which has none yet, and open the set with it.

    `source` holds name, revision, license and whether it is synthetic; `parts` what the export knows of each part
    (may be empty).
    """
    plain = _opened_without(folder)
    artifacts = [_artifact(folder, part, parts.get(part)) for part in PARTS]
    _check_channels(plain, artifacts)
    content = {
        "format_version": FORMAT_VERSION,
        "source": dict(source),
        "unet_channels": plain.unet_channels,
        "latent_scale": plain.latent_scale,
        "latent_factor": plain.latent_factor,
        "native_size": plain.native_size,
        "prediction_type": plain.prediction_type,
        "artifacts": [asdict(artifact) for artifact in artifacts],
        "files": {relative: digest_of(regular_file(folder, relative)) for relative in _config_files(folder)},
    }
    _write_whole(folder / MANIFEST, content)
    return EngineSet.open(folder, verify=False)


def with_artifacts(engines: EngineSet, artifacts: Sequence[Artifact]) -> EngineSet:
    """Let the manifest name `artifacts` instead of those it has, and open the set with it.

    The graphs must stay the same ones: what `outpaint-export parity` found of whole runs goes on to count.
    """
    manifest = engines.folder / MANIFEST
    content = json.loads(manifest.read_text(encoding="utf-8"))
    _write_whole(manifest, {**content, "artifacts": [asdict(artifact) for artifact in artifacts]})
    changed = EngineSet.open(engines.folder, verify=False)
    if engines.parity:
        _write_whole(engines.folder / PARITY, {**engines.parity, "engine_set": changed.digest})
    return changed


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old content or the new one, never a part."""
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _opened_without(folder: Path) -> EngineSet:
    """The set in a folder that has no manifest, with the facts of its configs."""
    try:
        return EngineSet.open(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"The configs in {folder} lack or misstate {error}. Copy them from the checkpoint, or export it again."
        ) from error


def _config_files(folder: Path) -> list[str]:
    """The files beside the graphs that belong to the set, relative to `folder`."""
    optional = ["model_index.json", *(f"tokenizer/{name}" for name in TOKENIZER_FILES)]
    optional += [f"{part}/config.json" for part in PARTS]
    found = [FILES[1], *(relative for relative in optional if (folder / relative).exists())]
    if not {"tokenizer/tokenizer.json", "tokenizer/vocab.json"} & set(found):
        raise EngineSetError(f"{folder} has no tokenizer. Copy the `tokenizer` folder of the checkpoint into it.")
    return found


def _artifact(folder: Path, part: str, facts: PartFacts | None) -> Artifact:
    relative = f"{part}/{MODEL_FILE}"
    path = regular_file(folder, relative)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise EngineSetError(f"{path} is not an ONNX file: {error}. Export the checkpoint again.") from error
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_described(value) for value in graph.input if value.name not in weights)
    outputs = tuple(_described(value) for value in graph.output)
    _check_names(path, part, [item["name"] for item in inputs], [item["name"] for item in outputs])
    counted = Counter(node.op_type for node in graph.node)
    operators = {name: counted[name] for name in NATIVE_OPERATORS}
    return Artifact(
        part=part,
        format="onnx",
        file=relative,
        precision=facts.precision if facts else _precision(graph),
        files={name: digest_of(regular_file(folder, name)) for name in (relative, *_external_files(part, graph))},
        opset=max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=None),
        inputs=inputs,
        outputs=outputs,
        parity={**facts.parity, "operators": operators} if facts else {},
    )


def _described(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Name, numpy element type and shape of one input or output; free axes by name."""
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


def _check_names(path: Path, part: str, inputs: list[str], outputs: list[str]) -> None:
    names = GRAPHS[part]
    if set(inputs) != set(names.inputs) or not set(names.outputs) <= set(outputs):
        raise EngineSetError(
            f"{path} takes {', '.join(inputs)} and gives {', '.join(outputs)}; expected {', '.join(names.inputs)} "
            f"and {', '.join(names.outputs)}. Export the checkpoint again, with this program or a newer Optimum."
        )


def _check_channels(plain: EngineSet, artifacts: list[Artifact]) -> None:
    unet = next(artifact for artifact in artifacts if artifact.part == "unet")
    channels = next(item["shape"][1] for item in unet.inputs if item["name"] == "sample")
    if isinstance(channels, int) and channels != plain.unet_channels:
        raise EngineSetError(
            f"{plain.folder / 'unet'}: the graph takes {channels} channels and config.json says {plain.unet_channels}. "
            "Export the checkpoint again."
        )
