"""The graphs of a part: one for everybody, others for a backend or for a share of the work, all over one weights file.

| file | takes |
|---|---|
| `model.onnx` | every backend; GroupNormalization in two passes; a UNet's gives `deep_features` too |
| `model.ort-cpu.onnx` | `ort-cpu`, where the part has attention in float32; 1 x 1 convolutions keep their names |
| `model.ort-cuda.onnx` | `ort-cuda`, where the part computes in float16; what it wants turned lies beside it |
| `shallow.onnx`, `shallow.ort-cpu.onnx`, ... | the same, for the UNet's last layers alone |
| `added_words.onnx` | every backend; a text encoder that takes vectors of words which its table does not have |
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from outpaint_engine.components import ADDED_WORDS

from ..layout import MODEL_FILE
from .added_words import take_added_words
from .attention import in_blocks
from .cuda import computes_in_half, for_cuda
from .group_normalization import in_two_passes
from .names import torch_names
from .shallow import give_deep_features, take_deep_features
from .weights import WEIGHTS_FILE, Stored, described, write_weights

__all__ = ["ONE_KERNEL", "WEIGHT_MAP", "Form", "write_forms"]

WEIGHT_MAP = "weights.json"
AS_EXPORTED = "as-exported.onnx"
"""The graph before GroupNormalization is spelled out; gone when all forms are written."""
IN_BLOCKS = "ort-cpu"
"""The backend that does attention best in blocks."""
BESIDE_ATTENTION = re.compile(r"\.proj_(in|out)\.weight$")
"""The 1 x 1 convolutions before and after a block of attention, by torch's names."""
ONE_KERNEL = "ort-cuda"
"""The backend that has kernels for what the other graphs spell out."""


@dataclass(frozen=True)
class Form:
    """One graph of a part: its file, what it computes ("model", "shallow", "added_words"), and the backends it is for.

    `variant` is "" and `backends` are empty for the graph that every backend takes.
    """

    file: str
    graph: str = "model"
    variant: str = ""
    backends: tuple[str, ...] = ()


def write_forms(model: ir.Model, folder: Path, part: str, names: Mapping[str, Stored] | None = None) -> list[Form]:
    """Write weights, their map, and all graphs of `part` to its `folder`; what was written, the main graph first.

    `model` is the part as it was exported, changed in place; `names` is what torch calls its weights, by default as
    far as the graph tells.
    """
    names = torch_names(model.graph) if names is None else names
    write_weights(model, folder / WEIGHTS_FILE, {stored.initializer for stored in names.values()})
    _write_map(folder / WEIGHT_MAP, model, names)
    cut = part == "unet" and give_deep_features(model)
    if computes_in_half(model):
        _save(model, folder, Form(AS_EXPORTED))
    in_two_passes(model)
    forms = [_save(model, folder, Form(MODEL_FILE))]
    if cut:
        forms.append(_save(_shallow(folder / MODEL_FILE), folder, Form("shallow.onnx", "shallow")))
    words = ir.load(folder / MODEL_FILE)
    if part == "text_encoder" and take_added_words(words):
        forms.append(_save(words, folder, Form(f"{ADDED_WORDS}.onnx", ADDED_WORDS)))
    for form in list(forms):
        blocks = ir.load(folder / form.file)
        if in_blocks(blocks):
            _keep_by_name(blocks.graph, names)
            forms.append(_save(blocks, folder, _made_for(IN_BLOCKS, form.graph)))
    if (folder / AS_EXPORTED).exists():
        forms += _cuda_forms(folder, cut)
        (folder / AS_EXPORTED).unlink()
    return forms


def _keep_by_name(graph: ir.Graph, names: Mapping[str, Stored]) -> None:
    """Let what is prepared of `graph` still have the weights beside attention that LoRAs change, by their names.

    Constant weights of convolutions are laid out anew for ONNX Runtime's kernels, under other names. An input with a
    default is no constant. Around attention a layout of their own has little use: it is turned back at once.
    """
    for name, stored in names.items():
        value = graph.initializers.get(stored.initializer)
        if BESIDE_ATTENTION.search(name) and value is not None and _is_pointwise(value):
            graph.inputs.append(value)


def _is_pointwise(weight: ir.Value) -> bool:
    """Whether it is the float32 weight of 1 x 1 convolutions, as it is stored."""
    nodes = [use.node.op_type for use in weight.uses()]
    shape = weight.shape.numpy() if weight.shape is not None else ()
    return weight.dtype == ir.DataType.FLOAT and nodes == ["Conv"] and shape[2:] == (1, 1)


def _cuda_forms(folder: Path, cut: bool) -> list[Form]:
    """The graphs in the operators of ONNX Runtime's CUDA provider, the weights that they want turned in one file."""
    whole = ir.load(folder / AS_EXPORTED)
    for_cuda(whole)
    form = _made_for(ONE_KERNEL, "model")
    write_weights(whole, folder / f"{form.file}_data", ())
    forms = [_save(whole, folder, form)]
    if cut:
        shallow = _shallow(folder / AS_EXPORTED)
        for_cuda(shallow)
        written = whole.graph.initializers
        for name, value in shallow.graph.initializers.items():
            value.const_value = written[name].const_value if name in written else value.const_value
        forms.append(_save(shallow, folder, _made_for(ONE_KERNEL, "shallow")))
    return forms


def _made_for(backend: str, graph: str) -> Form:
    return Form(f"{graph}.{backend}.onnx", graph, backend, (backend,))


def _shallow(path: Path) -> ir.Model:
    model = ir.load(path)
    take_deep_features(model)
    return model


def _save(model: ir.Model, folder: Path, form: Form) -> Form:
    ir.save(model, folder / form.file)
    return form


def _write_map(path: Path, model: ir.Model, names: Mapping[str, Stored]) -> None:
    """One line a weight, so that a map of several hundred can be read."""
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in described(model, names).items())
    path.write_text(f'{{"file": {json.dumps(WEIGHTS_FILE)}, "weights": {{\n{rows}\n}}}}\n', encoding="utf-8")
