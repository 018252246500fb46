"""LoRA files for the tiny engine sets that tests come with."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from outpaint_engine import EngineSet
from outpaint_engine.adapters import changeable
from outpaint_engine.engine_set.weights import stored_weights

TINY = Path(__file__).parents[2] / "goldens" / "tiny-9"
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}


def factors(seed: int, parts: tuple[str, ...] = ("unet", "text_encoder")) -> dict[str, np.ndarray]:
    """Random factors of rank 2 for every linear layer and convolution of these parts, in kohya's naming."""
    random, found = np.random.default_rng(seed), {}
    engine_set = EngineSet.open(TINY, verify=False)
    for part in parts:
        for name, shape in changeable(stored_weights(engine_set, part)).items():
            key = PREFIXES[part] + name.removesuffix(".weight").replace(".", "_")
            one = (1, 1) if len(shape) == 4 else ()
            found[f"{key}.lora_down.weight"] = random.normal(0, 0.05, (2, *shape[1:])).astype(np.float32)
            found[f"{key}.lora_up.weight"] = random.normal(0, 0.05, (shape[0], 2, *one)).astype(np.float32)
    return found


def lora_file(path: Path, seed: int, *parts: str) -> Path:
    """A file of `factors`; returns its path."""
    save_file(factors(seed, *((parts,) if parts else ())), path)
    return path


def dora_file(path: Path, seed: int) -> Path:
    """A file of `factors` with LyCORIS' magnitudes; returns its path."""
    random, tensors = np.random.default_rng(seed), factors(seed)
    for key, value in list(tensors.items()):
        if key.endswith("lora_up.weight"):
            magnitudes = random.uniform(0.5, 1.5, (len(value), *(1,) * (value.ndim - 1))).astype(np.float32)
            tensors[key.replace("lora_up.weight", "dora_scale")] = magnitudes
    save_file(tensors, path)
    return path
