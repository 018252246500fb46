"""The engine set: a folder of engines and configs, the one contract between the export stage and the runtime."""

from .engine_set import PARITY, EngineSet, demo_folder
from .files import MANIFEST, digest_of, regular_file
from .manifest import FORMAT_VERSION, PARTS, Artifact

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
