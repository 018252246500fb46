"""Brings a folder that Optimum exported, or a set of an older format version, to this one; torch is not needed.

The graphs are rewritten from what is there: the same weights in one file a part, with a map of their names, and every
form of each graph. Each new graph is run beside the old one before anything is replaced.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from outpaint_engine.components import ADDED_WORDS, TINY_DECODER
from outpaint_engine.engine_set import FORMAT_VERSION, MANIFEST, PARTS, Artifact, EngineSet
from outpaint_engine.safety.checker import CONCEPTS, PREPARATION
from outpaint_engine.safety.checker import PART as CHECKER

from .errors import DestinationError, EngineSetError
from .graphs.forms import ONE_KERNEL, Form, write_forms
from .layout import MODEL_FILE
from .manifest import PartFacts, check_graph, opened_by_configs, with_latent_colours, write_manifest, write_parity
from .parity.graphs import compare_graphs, compare_shallow, compare_words

__all__ = ["adopt"]

SAME_BOUND = 1e-4
"""How far a rewritten graph's answers may be from those of the graph it was made of, which loses more digits."""


def adopt(folder: Path) -> EngineSet:
    """Rewrite the graphs of a folder in all their forms, write its manifest, and open it; with its optional parts.

    A set of this format version whose manifest does not say which colours its latents have gets those alone.
    New files are made beside the old ones and moved in place at the end. Plans that were built from the old graphs are
    no longer named, since they are of other files.

    Raises:
        DestinationError: the set has this format version already.
        EngineSetError: a part, a config or an external weight file is missing, or a graph has other names.
        ParityError: a rewritten graph does not answer as the one before.
    """
    known = EngineSet.open(folder) if (folder / MANIFEST).exists() else None
    if known is not None and known.format_version == FORMAT_VERSION and not known.latent_colours:
        return with_latent_colours(known)
    if known is not None and known.format_version == FORMAT_VERSION:
        raise DestinationError(
            f"{folder} has a manifest of this version already. Check it with `outpaint engines verify {folder}`, or "
            f"delete {MANIFEST} there to write it again."
        )
    plain, taken = known or opened_by_configs(folder), _parts(folder)
    for part in taken:
        check_graph(folder, part, plain.unet_channels)
    with tempfile.TemporaryDirectory(prefix=".adopting-", dir=folder) as scratch:
        parts = {part: _rewrite(folder / part, Path(scratch) / part, _stated(known, part)) for part in taken}
        # From here to the new manifest the folder opens as one that Optimum wrote.
        (folder / MANIFEST).unlink(missing_ok=True)
        for part in taken:
            _move(Path(scratch) / part, folder / part)
    adopted = write_manifest(folder, {**plain.source, "synthetic": plain.synthetic}, parts)
    if known is not None and known.parity:
        # Whole runs were measured with graphs that answered so nearly the same.
        changes = [parts[part].parity[MODEL_FILE]["rewritten"]["max_rel_error"] for part in taken]
        write_parity(adopted, {**known.parity, "rewritten": {"max_rel_error": max(changes)}})
    return EngineSet.open(folder, verify=False)


def _parts(folder: Path) -> tuple[str, ...]:
    """The parts that are there; a safety checker is one of them, and half of one is an error."""
    parts = (*PARTS, *([TINY_DECODER] if (folder / TINY_DECODER).exists() else []))
    files = (f"{CHECKER}/{MODEL_FILE}", CONCEPTS, PREPARATION)
    missing = [name for name in files if not (folder / name).is_file()]
    if not (folder / CHECKER).exists():
        return parts
    if missing:
        raise EngineSetError(
            f"The safety checker in {folder} cannot be used: {' and '.join(missing)} is missing. Remove {CHECKER} "
            "there to do without it, or export the checkpoint with it: `outpaint-export onnx SOURCE OUT`."
        )
    return (*parts, CHECKER)


def _stated(known: EngineSet | None, part: str) -> Artifact | None:
    return known.artifact(part) if known is not None else None


def _rewrite(old: Path, new: Path, stated: Artifact | None) -> PartFacts:
    """Write all forms of the part in `old` to `new`, and compare them with its graph."""
    part, source = old.name, old / MODEL_FILE
    new.mkdir()
    try:
        forms = write_forms(ir.load(source), new, part)
    except ValueError as error:
        # onnx-ir's answer to weights in a file that is a link, also a hard one, or too short.
        raise EngineSetError(f"The weights of {source} cannot be read: {error}. Copy the files themselves.") from error
    parity = {form.file: _parity(source, new, form) for form in forms}
    if stated is not None and stated.parity:
        main = parity[MODEL_FILE]
        parity[MODEL_FILE] = {**stated.parity, "rewritten": {key: main[key] for key in ("bound", "max_rel_error")}}
    return PartFacts(forms, stated.precision if stated is not None else "", parity)


def _parity(source: Path, new: Path, form: Form) -> Mapping[str, Any]:
    if form.variant == ONE_KERNEL:
        return {}
    if form.graph == "shallow":
        return compare_shallow(new.name, new / form.file.replace("shallow", "model"), new / form.file)
    if form.graph == ADDED_WORDS:
        return compare_words(new.name, new / MODEL_FILE, new / form.file, SAME_BOUND)
    return compare_graphs(new.name, source, new / form.file, SAME_BOUND)


def _move(scratch: Path, part: Path) -> None:
    """Put the new files of a part in place of the old graph and its weights."""
    old = {path.name for path in part.glob("*.onnx*")} | _weights_of(part / MODEL_FILE)
    for name in old:
        (part / name).unlink(missing_ok=True)
    for path in scratch.iterdir():
        shutil.move(path, part / path.name)


def _weights_of(graph: Path) -> set[str]:
    """Files that a graph's weights lie in, inside its folder."""
    tensors = (value.const_value for value in ir.load(graph).graph.initializers.values())
    return {Path(tensor.location).name for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}
