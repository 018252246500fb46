"""What a LoRA without alphas of its own is multiplied by: as PEFT's configuration says, or by 1."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import AdapterError

__all__ = ["Scaling", "read_scaling"]

BESIDE, INSIDE = "adapter_config.json", "lora_adapter_metadata"
"""PEFT's file beside the weights, and what diffusers keeps of it in the weights' file."""
MOST_HEADER, MOST_CONFIG = 100_000_000, 1_000_000


class Scaling(NamedTuple):
    """PEFT's configuration of each part; under "" one that is for any part. Without one alpha is the rank."""

    parts: Mapping[str, Mapping[str, Any]]

    def scale(self, part: str, name: str, rank: int) -> float:
        """What a layer's product is multiplied by."""
        config = self._of(part)
        if not config:
            return 1.0
        layer = name.removesuffix(".weight")
        alpha = _of_layer(config.get("alpha_pattern"), layer, config.get("lora_alpha", config.get("alpha")))
        rank = _of_layer(config.get("rank_pattern"), layer, config.get("r", rank))
        return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)

    def doras(self, parts: Iterable[str]) -> set[str]:
        """Those of `parts` that the configuration calls a DoRA."""
        return {part for part in parts if self._of(part).get("use_dora")}

    def _of(self, part: str) -> Mapping[str, Any]:
        return self.parts.get(part, self.parts.get("", {}))


def read_scaling(file: Path, peft: bool) -> Scaling:
    """From the file, or, for one in PEFT's naming, from the configuration beside it.

    Raises:
        AdapterError: PEFT's file is missing, or a configuration cannot be read or lacks alpha or rank.
    """
    path = file.with_name(BESIDE) if peft else file
    try:
        if peft:
            parts = {"": json.loads(path.read_bytes()[:MOST_CONFIG])}
        else:
            flat = json.loads(_metadata(file).get(INSIDE, "{}"))
            parts = {}
            for key, value in flat.items():
                # `save_lora_adapter` names no part.
                part, _, field = key.rpartition(".")
                parts.setdefault(part, {})[field] = value
        for part, config in parts.items():
            Scaling(parts).scale(part, "", 1)
            if not config:
                raise ValueError("nothing")
    except OSError as error:
        raise AdapterError(
            f"{file} is in PEFT's naming, and its alpha is in {BESIDE}, which cannot be read beside it: "
            f"{error.strerror}. Put it there."
        ) from error
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        raise AdapterError(f"{path} does not state alpha and rank as PEFT does: {error}. Save it anew.") from error
    return Scaling(parts)


def _of_layer(pattern: Any, layer: str, otherwise: Any) -> Any:
    """The entry of `alpha_pattern` or `rank_pattern` for a layer: its name, or how its name ends."""
    found = [value for key, value in (pattern or {}).items() if layer == key or layer.endswith(f".{key}")]
    return found[0] if found else otherwise


def _metadata(file: Path) -> Mapping[str, Any]:
    """The notes in a safetensors header, which `read_weights` has found whole."""
    with file.open("rb") as content:
        length = min(int.from_bytes(content.read(8), "little"), MOST_HEADER)
        found: Mapping[str, Any] = json.loads(content.read(length)).get("__metadata__") or {}
    return found
