"""The engine set: a folder of engines and configs, the one contract between the export stage and the runtime.

The layout is Optimum's for diffusion pipelines, plus `engine_set.json` (`MANIFEST`), which names every file
with its SHA-256. Each part has one weights file and one or more graphs over it: `model.onnx` for everybody, variants of
it for backends that do another form better, and further graphs such as `shallow`. Sets of format version 1 have one
graph a part, and open too, as a folder that Optimum wrote does: it has no manifest, its facts are read from its
configs, and nothing can then be said about damaged files. Nothing here loads an engine.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import EngineSetError
from .hub_cache import without_links

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "PARITY",
    "PARTS",
    "Artifact",
    "EngineSet",
    "demo_folder",
    "digest_of",
    "regular_file",
]

MANIFEST = "engine_set.json"
PARITY = "parity.json"
"""What `outpaint-export parity` measured; beside the manifest, whose digest it names."""
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
PARTS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")
SD15_LATENT_SCALE, SD15_SIZE = 0.18215, 512
POSITIONS, CLIP_LENGTH = "max_position_embeddings", 77
FEWEST_POSITIONS, MOST_POSITIONS = 3, 10_000
"""A word between two marks; what is more is a tokenizer's way of saying that it knows no length."""
EXPORT_AGAIN = "export it again with `outpaint-export onnx SOURCE {folder}`."
BUILD_AGAIN = "build its plans again with `outpaint-export tensorrt {folder}`."
REMEDY = EXPORT_AGAIN[0].upper() + EXPORT_AGAIN[1:]


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


@dataclass(frozen=True)
class EngineSet:
    """What a folder of engines is: its source, the facts the loop needs, and its files.

    `unet_channels` is 4 (plain checkpoint) or 9 (inpainting checkpoint); `latent_scale` the VAE's scaling
    factor; `latent_factor` pixels per latent; `native_size` the canvas side the model was trained at, in
    pixels; `scheduler` the content of `scheduler_config.json`. The weights of a `synthetic` set are random numbers: it
    is for measuring speed. `format_version` is the manifest's, 0 without one. `detail_levels` is how often what was
    painted is enlarged by 2 and still refined. It suits models that have seen parts of pictures close up: where a
    manifest does not say, those of SD1.5's size are taken to have, once, and smaller ones not at all.
    """

    folder: Path
    source: Mapping[str, str]
    unet_channels: int
    latent_scale: float
    latent_factor: int
    native_size: int
    prediction_type: str
    scheduler: Mapping[str, Any]
    artifacts: tuple[Artifact, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    synthetic: bool = False
    format_version: int = 0
    detail_levels: int = 1

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> "EngineSet":
        """Read a folder and check it; "demo" is the set that comes with this package.

        `verify=False` skips comparing file contents with the manifest (seconds, for sets of several GB).

        Raises:
            EngineSetError: a file is missing, damaged, outside the folder, or a link that is no hub cache's own; the
                message names it.
        """
        path = demo_folder() if str(folder) == "demo" else Path(folder)
        if not path.is_dir():
            raise EngineSetError(
                f"There is no engine set at {str(folder)!r}: that folder does not exist. "
                "Use `demo`, or make one with `outpaint-export onnx SOURCE FOLDER`."
            )
        path = without_links(path)
        opened = _from_manifest(path) if (path / MANIFEST).exists() else _from_configs(path)
        for relative in opened.paths(plans=False):
            regular_file(path, relative)
        if opened.latent_factor != 8:
            raise EngineSetError(f"{path}: one latent stands for {opened.latent_factor} pixels a side; SD1.5 has 8.")
        if verify:
            opened.verify()
        return opened

    def artifact(self, part: str, format: str = "onnx", backend: str = "", graph: str = "model") -> Artifact:
        """The artifact of `part` in `format` that was made for `backend`, else the one that is for everybody.

        Raises:
            EngineSetError: there is none; the message says what there is.
        """
        found = [each for each in self.artifacts if (each.part, each.format, each.graph) == (part, format, graph)]
        for artifact in sorted(found, key=lambda each: backend not in each.backends):
            if backend in artifact.backends or not artifact.backends:
                return artifact
        if graph != "model":
            raise EngineSetError(
                f"{self.folder} has no {format} graph {graph!r} for {part}. "
                f"Add it: `outpaint-export adopt {self.folder}`."
            )
        have = sorted({artifact.format for artifact in self.artifacts if artifact.part == part})
        raise EngineSetError(f"{self.folder} has no {format} engine for {part}; it has {', '.join(have) or 'none'}.")

    def graphs(self, part: str, format: str = "onnx") -> frozenset[str]:
        """What the graphs of a part compute: "model", and for a UNet of format version 2 "shallow"."""
        return frozenset(each.graph for each in self.artifacts if (each.part, each.format) == (part, format))

    def size_of(self, part: str) -> int:
        """Bytes of a part's ONNX graph and of the weights beside it."""
        folder = (self.folder / self.artifact(part).file).parent
        return sum(path.stat().st_size for path in folder.glob("*.onnx*"))

    @cached_property
    def text_length(self) -> int:
        """Tokens that the text encoder reads at a time, marks included: 77 for CLIP, or what the set's configs say.

        It is what the tokenizer pads to, and at most what the text encoder has positions for.
        """
        configs = (("tokenizer/tokenizer_config.json", "model_max_length"), ("text_encoder/config.json", POSITIONS))
        stated = [
            found
            for file, key in configs
            if (self.folder / file).exists() and isinstance(found := _read_json(self.folder, file).get(key), int)
        ]
        length = min((each for each in stated if each <= MOST_POSITIONS), default=CLIP_LENGTH)
        if length < FEWEST_POSITIONS:
            raise EngineSetError(f"{self.folder}: a text encoder of {length} tokens has no room for a prompt.")
        return length

    @cached_property
    def parity(self) -> Mapping[str, Any]:
        """How close whole runs are to diffusers', as measured last; empty if never, or for another manifest."""
        if not (self.folder / PARITY).exists():
            return {}
        measured = _read_json(self.folder, PARITY)
        return measured if measured.get("engine_set") == self.digest else {}

    def paths(self, *, plans: bool = True) -> Iterator[str]:
        """Every file the set names, relative to its folder; `plans` are engines that were built from its graphs."""
        yield from self.files
        for artifact in self._artifacts(plans):
            yield artifact.file
            yield from artifact.files

    def verify(self, *, plans: bool = False) -> None:
        """Compare every file with the manifest's SHA-256; an `EngineSetError` names the first that differs.

        Plans are compared when they are loaded, so a set whose plans are gone or damaged opens, and is used without.
        """
        stated = dict.fromkeys(self.files.items(), EXPORT_AGAIN)
        for artifact in self._artifacts(plans):
            stated |= dict.fromkeys(artifact.files.items(), EXPORT_AGAIN if artifact.format == "onnx" else BUILD_AGAIN)
        for (relative, sha256), remedy in stated.items():
            if digest_of(regular_file(self.folder, relative)) != sha256:
                raise EngineSetError(
                    f"{self.folder / relative} is not the file that was exported: its SHA-256 differs from {MANIFEST}. "
                    f"Copy the engine set again, or {remedy.format(folder=self.folder)}"
                )

    def _artifacts(self, plans: bool) -> Iterator[Artifact]:
        return (artifact for artifact in self.artifacts if plans or artifact.format == "onnx")


def demo_folder() -> Path:
    """Folder of the engine set that comes with this package."""
    return Path(__file__).parent / "assets" / "demo"


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def regular_file(folder: Path, relative: str) -> Path:
    """The path of a file named by a manifest: a regular file inside `folder`, reached without links."""
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or ":" in relative or not pure.parts:
        raise EngineSetError(f"{folder / MANIFEST} names {relative!r}; only files inside the folder may be named.")
    path = folder
    for piece in pure.parts:
        path = path / piece
        if path.is_symlink():
            raise EngineSetError(f"{path} is a link. Engine files must be regular files: copy the file itself there.")
    if not path.is_file():
        raise EngineSetError(f"{path} is missing. " + REMEDY.format(folder=folder))
    return path


def _read_json(folder: Path, relative: str) -> dict[str, Any]:
    path = regular_file(folder, relative)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise EngineSetError(f"{path} is not readable JSON: {error}. " + REMEDY.format(folder=folder)) from error
    if not isinstance(content, dict):
        raise EngineSetError(f"{path} should hold a JSON object. " + REMEDY.format(folder=folder))
    return content


def _read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config; its class is the one that model_index.json names, if it names one, as in diffusers."""
    config = _read_json(folder, "scheduler/scheduler_config.json")
    named = _read_json(folder, "model_index.json").get("scheduler") if (folder / "model_index.json").exists() else None
    return config | {"_class_name": named[1]} if isinstance(named, list) and len(named) == 2 else config


def _from_manifest(folder: Path) -> EngineSet:
    manifest = _read_json(folder, MANIFEST)
    version = manifest.get("format_version")
    if version not in READABLE_VERSIONS:
        raise EngineSetError(
            f"{folder / MANIFEST} has format version {version!r}; this program reads versions "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. " + REMEDY.format(folder=folder)
        )
    try:
        artifacts = tuple(map(_artifact, manifest["artifacts"]))
        return EngineSet(
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
            detail_levels=int(manifest.get("detail_levels", int(manifest["native_size"]) >= SD15_SIZE)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EngineSetError(
            f"{folder / MANIFEST} lacks or misstates {error}. " + REMEDY.format(folder=folder)
        ) from error


def _artifact(item: Mapping[str, Any]) -> Artifact:
    listed = {name: tuple(item[name]) for name in ("inputs", "outputs", "backends") if name in item}
    artifact = Artifact(**{**item, **listed})
    if artifact.file not in artifact.files:
        raise ValueError(f"the hash of {artifact.file}")
    return artifact


def _from_configs(folder: Path) -> EngineSet:
    """Facts of a folder without a manifest, as Optimum writes it."""
    unet = _read_json(folder, "unet/config.json")
    vae = _read_json(folder, "vae_decoder/config.json")
    scheduler = _read_scheduler(folder)
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        return EngineSet(
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
