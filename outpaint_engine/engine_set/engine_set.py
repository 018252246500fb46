"""The engine set: a folder of engines and configs, the one contract between the export stage and the runtime.

The layout is Optimum's for diffusion pipelines, plus `engine_set.json` (`MANIFEST`), which names every file
with its SHA-256. Each part has one weights file and one or more graphs over it: `model.onnx` for everybody, variants of
it for backends that do another form better, and further graphs such as `shallow`. Sets of format version 1 have one
graph a part, and open too, as a folder that Optimum wrote does: it has no manifest, its facts are read from its
configs, and nothing can then be said about damaged files. Nothing here loads an engine.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import EngineSetError
from .files import BUILD_AGAIN, EXPORT_AGAIN, MANIFEST, digest_of, read_json, regular_file
from .hub_cache import without_links
from .manifest import Artifact, from_configs, from_manifest

__all__ = ["PARITY", "EngineSet", "demo_folder"]

PARITY = "parity.json"
"""What `outpaint-export parity` measured; beside the manifest, whose digest it names."""
POSITIONS, CLIP_LENGTH = "max_position_embeddings", 77
FEWEST_POSITIONS, MOST_POSITIONS = 3, 10_000
"""A word between two marks; what is more is a tokenizer's way of saying that it knows no length."""


@dataclass(frozen=True)
class EngineSet:
    """What a folder of engines is: its source, the facts the loop needs, and its files.

    `unet_channels` is 4 (plain checkpoint) or 9 (inpainting checkpoint); `latent_scale` the VAE's scaling
    factor; `latent_factor` pixels per latent; `native_size` the canvas side the model was trained at, in
    pixels; `scheduler` the content of `scheduler_config.json`. The weights of a `synthetic` set are random numbers: it
    is for measuring speed. `format_version` is the manifest's, 0 without one. `detail_levels` is how often what was
    painted is enlarged by 2 and still refined. It suits models that have seen parts of pictures close up: where a
    manifest does not say, those of SD1.5's size are taken to have, once, and smaller ones not at all. `latent_colours`
    are the colours of scaled latents in [-1, 1], for previews: a row for each, of four factors and what is added.
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
    latent_colours: tuple[tuple[float, ...], ...] = ()

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
        facts = from_manifest(path) if (path / MANIFEST).exists() else from_configs(path)
        opened = cls(**facts)
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
            if (self.folder / file).exists() and isinstance(found := read_json(self.folder, file).get(key), int)
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
        measured = read_json(self.folder, PARITY)
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
    return Path(__file__).parents[1] / "assets" / "demo"
