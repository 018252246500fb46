"""What an engine set says of itself: the manifest, or the configs of a folder that has none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineSetError
from .files import MANIFEST, REMEDY, digest_of, read_json

__all__ = ["FORMAT_VERSION", "PARTS", "Artifact", "from_configs", "from_manifest"]

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
PARTS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")
SD15_LATENT_SCALE, SD15_SIZE = 0.18215, 512


@dataclass(frozen=True)
class Artifact:
    """One engine file of one part: an ONNX graph, or a plan that was built from it.

    `files` maps every file that belongs to it (external weights too) to its SHA-256; empty without a manifest.
    `graph` says what it computes: "model" is the whole part, "shallow" a UNet's last layers, which take
    `deep_features`. A `variant` was made for the `backends` it names; those of the graph for everybody are empty.
    `built_for` holds what a plan depends on (library version, compute capabilities, shape profile).
    """

    part: str
    format: str
    file: str
    precision: str
    files: Mapping[str, str] = field(default_factory=dict)
    opset: int | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    built_for: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    graph: str = "model"
    variant: str = ""
    backends: tuple[str, ...] = ()


def _read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config; its class is the one that model_index.json names, if it names one, as in diffusers."""
    config = read_json(folder, "scheduler/scheduler_config.json")
    named = read_json(folder, "model_index.json").get("scheduler") if (folder / "model_index.json").exists() else None
    return config | {"_class_name": named[1]} if isinstance(named, list) and len(named) == 2 else config


def from_manifest(folder: Path) -> dict[str, Any]:
    """The facts of a folder with a manifest, as the fields of `EngineSet`."""
    manifest = read_json(folder, MANIFEST)
    version = manifest.get("format_version")
    if version not in READABLE_VERSIONS:
        raise EngineSetError(
            f"{folder / MANIFEST} has format version {version!r}; this program reads versions "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. " + REMEDY.format(folder=folder)
        )
    try:
        artifacts = tuple(map(_artifact, manifest["artifacts"]))
        return dict(
            folder=folder,
            source={key: str(manifest["source"][key]) for key in ("name", "revision", "license")},
            unet_channels=int(manifest["unet_channels"]),
            latent_scale=float(manifest["latent_scale"]),
            latent_factor=int(manifest["latent_factor"]),
            native_size=int(manifest["native_size"]),
            prediction_type=str(manifest["prediction_type"]),
            scheduler=_read_scheduler(folder),
            artifacts=artifacts,
            files=dict(manifest["files"]),
            digest=digest_of(folder / MANIFEST),
            synthetic=bool(manifest["source"].get("synthetic", False)),
            format_version=version,
            latent_colours=_latent_colours(manifest.get("latent_colours", {"rows": ()})["rows"]),
            detail_levels=int(manifest.get("detail_levels", int(manifest["native_size"]) >= SD15_SIZE)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"{folder / MANIFEST} lacks or misstates {error}. " + REMEDY.format(folder=folder)
        ) from error


def _latent_colours(rows: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
    found = tuple(tuple(map(float, row)) for row in rows)
    if found and [len(row) for row in found] != [5, 5, 5]:
        raise ValueError("latent_colours, which are three rows of five numbers")
    return found


def _artifact(item: Mapping[str, Any]) -> Artifact:
    listed = {name: tuple(item[name]) for name in ("inputs", "outputs", "backends") if name in item}
    artifact = Artifact(**{**item, **listed})
    if artifact.file not in artifact.files:
        raise ValueError(f"the hash of {artifact.file}")
    return artifact


def from_configs(folder: Path) -> dict[str, Any]:
    """The same of a folder without a manifest, as Optimum writes it."""
    unet = read_json(folder, "unet/config.json")
    vae = read_json(folder, "vae_decoder/config.json")
    scheduler = _read_scheduler(folder)
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        return dict(
            folder=folder,
            source={"name": str(unet.get("_name_or_path") or folder.name), "revision": "", "license": ""},
            unet_channels=int(unet["in_channels"]),
            latent_scale=float(vae.get("scaling_factor", SD15_LATENT_SCALE)),
            latent_factor=factor,
            native_size=int(unet["sample_size"]) * factor,
            prediction_type=str(scheduler.get("prediction_type", "epsilon")),
            scheduler=scheduler,
            artifacts=tuple(Artifact(part, "onnx", f"{part}/model.onnx", "as exported") for part in PARTS),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"The configs of unet and vae_decoder in {folder} lack or misstate {error}. " + REMEDY.format(folder=folder)
        ) from error
