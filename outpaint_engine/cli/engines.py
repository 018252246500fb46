"""`outpaint engines`: the engine sets of this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..cache import size_in_bytes
from ..engine_set import MANIFEST, EngineSet, demo_folder
from ..engines import EngineOptions, load_engines
from ..engines.prepared import prepared_folder
from ..errors import EngineSetError

__all__ = ["engines"]


@click.group()
def engines() -> None:
    """List, describe and check engine sets."""


@engines.command(name="list")
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
def list_(folder: Path) -> None:
    """List the demo and every engine set directly inside FOLDER (by default here)."""
    found = [path.parent for path in (demo_folder() / MANIFEST, *sorted(folder.glob(f"*/{MANIFEST}"))) if path.exists()]
    for path in found:
        try:
            opened = EngineSet.open(path, verify=False)
        except EngineSetError as error:
            click.echo(f"{path!s:24} broken: {error}")
            continue
        name = "demo" if path == demo_folder() else str(path)
        click.echo(f"{name:24} {opened.source['name']}, {opened.unet_channels} channels, {opened.native_size} px")


@engines.command()
@click.argument("folder", default="demo")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def info(folder: str, as_json: bool) -> None:
    """Describe an engine set: its source, its parts, and how close it was measured to be."""
    opened = EngineSet.open(folder, verify=False)
    facts: dict[str, Any] = {
        "folder": str(opened.folder),
        "source": dict(opened.source),
        "synthetic": opened.synthetic,
        "unet_channels": opened.unet_channels,
        "native_size": opened.native_size,
        "prediction_type": opened.prediction_type,
        "digest": opened.digest,
        "parity": dict(opened.parity),
        "artifacts": [
            {
                "part": artifact.part,
                "format": artifact.format,
                "file": artifact.file,
                "precision": artifact.precision,
                "opset": artifact.opset,
                "parity": dict(artifact.parity),
            }
            for artifact in opened.artifacts
        ],
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name in ("folder", "source", "synthetic", "unet_channels", "native_size", "prediction_type", "digest"):
        click.echo(f"{name:16} {facts[name]}")
    click.echo(f"{'parity':16} {_parity_text(opened.parity)}")
    for artifact in facts["artifacts"]:
        click.echo(f"{artifact['part']:16} {artifact['file']}, {artifact['precision']}, opset {artifact['opset']}")


def _parity_text(parity: Mapping[str, Any]) -> str:
    """The worst figures of whole runs beside diffusers."""
    if not parity:
        return "whole runs not measured: `outpaint-export parity` does"
    worst, verdict = parity["worst"], "within its bounds" if parity["kept"] else "BOUNDS MISSED"
    return (
        f"{len(parity['cases'])} runs beside {parity['reference']}: latents within {worst['latent_error']:.1e}, "
        f"at least {worst['within_one_level']:.2%} of pixel values within 1/255; {verdict}"
    )


@engines.command()
@click.argument("folder", default="demo")
def verify(folder: str) -> None:
    """Compare every file of an engine set with the SHA-256 in its manifest."""
    opened = EngineSet.open(folder, verify=False)
    opened.verify(plans=True)
    if not opened.digest:
        click.echo(f"{opened.folder} has no {MANIFEST}: nothing to compare. Write one with `outpaint-export adopt`.")
        return
    click.echo(f"{opened.folder}: {len(set(opened.paths()))} files, all as exported.")


@engines.command()
@click.argument("folder", default="demo")
def prepare(folder: str) -> None:
    """Keep what ort-cpu makes of an engine set's graphs, so that it loads in a fraction of the time and memory.

    It is kept in the user's cache folder, for this machine's processor and this version of ONNX Runtime, and takes as
    much space as the weights in float32.
    """
    opened = EngineSet.open(folder)
    for engine in load_engines(opened, "ort-cpu", EngineOptions(prepare=True), {}).values():
        engine.close()
    kept = prepared_folder()
    size = size_in_bytes(kept) / 1e9
    click.echo(f"{opened.folder} is prepared for ort-cpu. All that is prepared takes {size:.2f} GB in {kept}.")
