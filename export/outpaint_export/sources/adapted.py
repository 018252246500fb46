"""A checkpoint with LoRA files folded into its weights, so that the exported graphs need to know nothing of them."""

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from outpaint_engine.adapters import LayerChange, make_changes, read_lora

from .checkpoint import Sources

__all__ = ["with_loras"]

TEXT_MODEL = re.compile(r"^text_model\.")


def with_loras(sources: Sources, loras: Sequence[tuple[Path, float]]) -> Sources:
    """The same checkpoint, each file added at its strength, which may be negative; both parts are read once for it.

    A module is changed in place, in float32, each time it is loaded.

    Raises:
        AdapterError: a file is damaged, or not for this checkpoint.
    """
    shapes = {"unet": _shapes(sources.unet), "text_encoder": _shapes(sources.text_encoder)}
    found = [(read_lora(path, shapes), strength) for path, strength in loras]
    names = ", ".join(f"{path.name}:{strength:g}" for path, strength in loras)
    changes = {part: [(changed.get(part, {}), strength) for changed, strength in found] for part in shapes}
    return replace(
        sources,
        unet=lambda: _changed(sources.unet(), changes["unet"]),
        text_encoder=lambda: _changed(sources.text_encoder(), changes["text_encoder"]),
        origin=replace(sources.origin, name=f"{sources.origin.name} with {names}"),
    )


def _shapes(load: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    shapes = {name: tuple(weight.shape) for name, weight in _weights(load()).items()}
    gc.collect()
    return shapes


def _changed(module: nn.Module, changes: Sequence[tuple[Mapping[str, LayerChange], float]]) -> nn.Module:
    weights = _weights(module.float())
    for name in dict.fromkeys(name for layers, _ in changes for name in layers):
        found = [(layers[name], strength) for layers, strength in changes if name in layers]
        make_changes(weights[name].detach().numpy(), found)
    return module


def _weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """What a LoRA may change: weights of linear layers and convolutions, by name."""
    return {
        TEXT_MODEL.sub("", f"{name}.weight"): layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
