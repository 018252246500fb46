"""CLIP's real byte-pair table as the tokenizer files of a checkpoint; it lies beside the repository."""

import gzip
import json
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "shared" / "data" / "bpe_simple_vocab_16e6.txt.gz"


def clip_files(folder: Path) -> Path:
    """Write vocab.json and merges.txt to `folder` and return it; skips the test where the table is missing."""
    if not TABLE.exists():
        pytest.skip(f"CLIP's byte-pair table is not at {TABLE}")
    merges = gzip.decompress(TABLE.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    byte_values = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in byte_values]
    alphabet = [chr(value) for value in byte_values] + [chr(256 + index) for index in range(len(others))]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return folder
