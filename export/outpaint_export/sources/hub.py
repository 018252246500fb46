"""Fetches a checkpoint from the Hugging Face hub: only the files an export needs, safetensors only, one revision."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from ..errors import SourceError
from .checkpoint import Origin
from .folders import PARTS, PICKLE_REFUSED, PICKLES, chosen_variant, stored_variants

__all__ = ["fetch", "needed_files"]

CONFIGS = ("model_index.json", "scheduler/scheduler_config.json")
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
BESIDE = (*CONFIGS, *(f"tokenizer/{file}" for file in TOKENIZER))
Parts = Mapping[str, tuple[str, str, str]]


def fetch(
    name: str, revision: str | None, *, parts: Parts = PARTS, beside: tuple[str, ...] = BESIDE
) -> tuple[Path, Origin]:
    """Download what is needed of hub id `name` and return its folder in the cache, with its revision and licence.

    `parts` are as in `folders.PARTS`; `beside` files that are read too, where they are there.

    Raises:
        SourceError: no such id or revision, no network and nothing in the cache, or pickled weights only.
    """
    try:
        info = HfApi().model_info(name, revision=revision)
    except (HfHubHTTPError, HFValidationError) as error:
        raise SourceError(
            f"{name!r} is neither a folder or file here nor a checkpoint that the hub gives: {error} Check the "
            "spelling, the revision, and `hf auth login` if it asks for an account."
        ) from error
    except Exception as error:  # what a missing network raises depends on the HTTP library under huggingface_hub
        return _cached(name, revision, error), Origin(name, revision or "")
    commit, files = str(info.sha), [str(entry.rfilename) for entry in info.siblings or ()]
    wanted = needed_files(name, files, parts, beside)
    try:
        folder = snapshot_download(name, revision=commit, allow_patterns=wanted)
    except Exception as error:  # as above
        raise SourceError(
            f"{name!r} could not be downloaded: {error} Run the same command again; files that are complete are kept."
        ) from error
    card = info.card_data
    return Path(folder), Origin(name, commit, str(getattr(card, "license", None) or ""))


def needed_files(name: str, files: Iterable[str], parts: Parts = PARTS, beside: tuple[str, ...] = BESIDE) -> list[str]:
    """Of the files of hub id `name`, those an export reads; of several variants of the weights the usual one.

    Nothing at all of parts that it may lack, where it has none of them.
    """
    there = set(files)
    wanted = [file for file in (*beside, *(str(PurePosixPath(part, "config.json")) for part in parts)) if file in there]
    if parts is not PARTS and len(wanted) < len(beside) + len(parts):
        return []
    for part, (weights, _, _) in parts.items():
        inside = {path.name: str(path) for path in map(PurePosixPath, there) if path.parent == PurePosixPath(part)}
        variants = stored_variants(inside, weights)
        if not variants:
            if any(file.endswith(PICKLES) for file in inside):
                raise SourceError(PICKLE_REFUSED.format(f"{name} ({part})"))
            raise SourceError(f"{name} has no {part}/{weights}.safetensors. Give a Stable Diffusion 1.5 checkpoint.")
        wanted += [inside[file] for file in variants[chosen_variant(f"{name} ({part})", variants)]]
    return wanted


def _cached(name: str, revision: str | None, reason: Exception) -> Path:
    """The folder of an earlier download, for machines without network."""
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except OSError as error:
        raise SourceError(
            f"{name!r} is not a folder or file here, the hub cannot be reached ({reason}), and it was not downloaded "
            "before. Connect to the network, or give a folder or a .safetensors file."
        ) from error
