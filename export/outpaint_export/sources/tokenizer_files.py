"""Reads and writes the CLIP tokenizer of a checkpoint.

`tokenizer.json` is for the runtime; `vocab.json`, `merges.txt` and `added_tokens.json` are for Optimum. Nothing here
encodes a prompt.
"""

import json
from pathlib import Path

from transformers import CLIPTokenizer

from ..errors import SourceError

__all__ = ["read_tokenizer", "write_tokenizer"]


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of `folder`, which holds `tokenizer.json`, or `vocab.json` and `merges.txt`.

    Raises:
        SourceError: the files are missing or cannot be read.
    """
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise SourceError(
            f"There is no CLIP tokenizer in {folder}: expected tokenizer.json, or vocab.json and merges.txt. "
            "Copy the `tokenizer` folder of any Stable Diffusion 1.5 checkpoint there."
        )
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"The tokenizer in {folder} cannot be read: {error}. Copy it there again.") from error


def write_tokenizer(tokenizer: CLIPTokenizer, folder: Path, longest: int) -> None:
    """Write the tokenizer's files; `longest` is the number of tokens that the text encoder takes."""
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
    added = {token: number for token, number in tokenizer.get_added_vocab().items() if token not in vocabulary}
    if added:
        # Only tokenizer.json knows them otherwise, which older readers pass over.
        (folder / "added_tokens.json").write_text(json.dumps(added, ensure_ascii=False), encoding="utf-8")
    settings_file = folder / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    # What was not said in the checkpoint is written as a huge number, and the folder it was read from as a fact.
    settings["model_max_length"] = min(longest, int(settings.get("model_max_length") or longest))
    for machine_specific in ("is_local", "local_files_only"):
        settings.pop(machine_specific, None)
    settings_file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
