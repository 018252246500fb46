"""LoRA and its relatives, DoRA among them: what an adapter file adds to which weights of a model.

A key names a layer and one of the layer's factors. Layers are written in one of these ways, and found among the
model's own weights, so that no table of block names is needed:

| from | UNet | text encoder |
|---|---|---|
| kohya's and LyCORIS' trainers | `lora_unet_` and the name with `_` for `.` | `lora_te_` likewise |
| diffusers (`lora_conversion_utils.py`, `save_lora_weights`) | `unet.` | `text_encoder.` |
| diffusers before PEFT | `attn1.processor.to_q_lora` and the like | `self_attn.to_q_lora` and the like |
| PEFT | `base_model.model.`, with `adapter_config.json` beside the file | the same |
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import AdapterError
from ..tensors import Array
from .changes import LayerChange
from .factors import Factors, fits, rank_of, shape_of
from .scaling import Scaling, read_scaling
from .weights_file import read_weights

__all__ = ["Shapes", "read_lora"]

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Of each part ("unet", "text_encoder") the shapes of its weights, by torch's names without `text_model.`."""
MOST_BYTES = 2_000_000_000
KEY = re.compile(
    r"(?P<layer>.+?)(?:\.lora_(?P<kohya>down|up|mid)\.weight|\.lora_(?P<peft>[AB])(?:\.default)?\.weight"
    r"|(?:\.lora|\.lora_linear_layer|_lora)\.(?P<diffusers>down|up)\.weight"
    r"|\.(?P<magnitude>lora_magnitude_vector|dora_scale)(?:\.default)?(?:\.weight)?"
    r"|\.(?P<other>(?:hada|lokr)_\w+|alpha)(?:\.default)?)"
)
PEFT_FACTORS = {"A": "down", "B": "up"}
PREFIXES = {
    "lora_unet_": "unet",
    "lora_te_text_model_": "text_encoder",
    "lora_te1_text_model_": "text_encoder",
    "lora_te_": "text_encoder",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
}
OLD_NAMES = (
    (re.compile(r"\.processor(?=\.to_)"), ""),
    (re.compile(r"self_attn\.to_([qkv])$"), r"self_attn.\1_proj"),
    (re.compile(r"self_attn\.to_out$"), "self_attn.out_proj"),
    (re.compile(r"\.to_out$"), ".to_out.0"),
)
"""diffusers' names of layers before PEFT, and those of today."""
OTHERS = (
    (re.compile(r"lora_te2_|text_encoder_2\.|lora_unet_(input|middle|output)_block"), "Stable Diffusion XL"),
    (re.compile(r"lora_te3_|lora_transformer_|transformer\.|lora_unet_(double|single|joint)_blocks"), "a transformer"),
    (re.compile(r"lora_prior_|lora_unet_.*(effnet|clip_mapper)"), "Stable Cascade"),
)
WIDTHS = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""How wide the texts are that other UNets attend to."""
MAGNITUDES = {"lora_magnitude_vector": 1, "dora_scale": 0}
"""PEFT's name of a DoRA's magnitudes, and LyCORIS', and which of several axes is that of the layer's outputs."""


def read_lora(path: str | Path, shapes: Shapes) -> dict[str, dict[str, LayerChange]]:
    """For each part, by weight, what the file adds to it. Nothing is multiplied before `LayerChange.delta`.

    Raises:
        AdapterError: the file is missing, damaged, of another architecture, has a key that the model has no weight for,
            or factors that do not fit each other or the weight; the message names which.
    """
    file = Path(path)
    weights = read_weights(file, MOST_BYTES)
    _check_architecture(file, weights)
    known = {_flat(part, name): (part, name) for part, names in shapes.items() for name in names}
    layers: dict[tuple[str, str], Factors] = {}
    for key, value in weights.items():
        place, factor = _place(file, key, known)
        if factor in layers.setdefault(place, {}):
            raise AdapterError(f"{file} has {factor!r} of {place[1]!r} twice, under {key!r:.100}. Give another file.")
        layers[place][factor] = value
    if not layers:
        raise AdapterError(f"{file} holds no tensors. Give a LoRA file.")
    scaling = read_scaling(file, any(key.startswith("base_model.") for key in weights))
    stated = ["alpha" in factors for factors in layers.values()]
    doras = {part for (part, _), factors in layers.items() if MAGNITUDES.keys() & factors} | scaling.doras(shapes)
    found: dict[str, dict[str, LayerChange]] = {}
    for (part, name), factors in layers.items():
        if part in doras and not MAGNITUDES.keys() & factors:
            raise AdapterError(f"{file} is a DoRA and has no magnitudes for {name!r}. Give a whole file.")
        if any(stated) and "alpha" not in factors:
            raise AdapterError(f"{file} has no alpha for {name!r}, where other layers have one. Give a whole file.")
        found.setdefault(part, {})[name] = _change(file, (part, name), factors, (shapes[part][name], scaling))
    return found


def _change(
    file: Path, place: tuple[str, str], factors: Factors, model: tuple[tuple[int, ...], Scaling]
) -> LayerChange:
    (part, name), (shape, scaling) = place, model
    magnitude, alpha = _magnitude(file, name, factors, shape[0]), factors.pop("alpha", None)
    made = shape_of(factors)
    if made is None or (alpha is not None and alpha.size != 1):
        given = ", ".join(f"{factor} {list(value.shape)}" for factor, value in sorted(factors.items())) or "alpha alone"
        raise AdapterError(f"{file} has factors for {name!r} that do not fit each other ({given}). Give a whole file.")
    if not fits(made, shape):
        other = WIDTHS.get(made[1]) if re.search(r"attn2\.to_[kv]\.", name) and len(made) > 1 else None
        said = f"is for {other}: it" if other else ""
        raise AdapterError(
            f"{file} {said + ' ' if said else ''}changes {name!r} by {list(made)} and this model has {list(shape)} "
            "there. Give a LoRA for Stable Diffusion 1.5."
        )
    rank = rank_of(factors)
    stated = None if alpha is None else float(alpha.reshape(())) / rank if rank else 1.0
    scale = scaling.scale(part, name, rank) if stated is None else stated
    return LayerChange(file, name, factors, scale, shape, magnitude)


def _magnitude(file: Path, name: str, factors: Factors, outputs: int) -> Array | None:
    """A DoRA's magnitudes, which are taken out of the layer's factors; None where it has none."""
    given = {key: factors.pop(key) for key in MAGNITUDES if key in factors}
    if not given:
        return None
    if len(given) > 1 or factors.keys() - {"alpha"} != {"down", "up"}:
        raise AdapterError(
            f"{file} is a DoRA with {', '.join(sorted(given | factors))} for {name!r}; expected magnitudes once, and "
            "LoRA's two factors. Give a DoRA of a plain LoRA."
        )
    ((key, value),) = given.items()
    axis = MAGNITUDES[key] if value.ndim > 1 else 0
    if value.size != outputs or value.shape[axis : axis + 1] != (outputs,):
        raise AdapterError(
            f"{file} is a DoRA with magnitudes {list(value.shape)} for {name!r}; expected one for each of the layer's "
            f"{outputs} outputs, not for each input. Give one that was trained so (LyCORIS: wd_on_out)."
        )
    return value.reshape(outputs)


def _check_architecture(file: Path, weights: Mapping[str, Array]) -> None:
    for key in weights:
        for pattern, other in OTHERS:
            if pattern.match(key):
                raise AdapterError(f"{file} is a LoRA for {other} ({key!r:.100}). Give one for Stable Diffusion 1.5.")


def _place(file: Path, key: str, known: Mapping[str, tuple[str, str]]) -> tuple[tuple[str, str], str]:
    """The part and weight that a key is for, and which factor of it the key holds."""
    match = KEY.fullmatch(key)
    place = _weight(match["layer"], known) if match else None
    if match is None or place is None:
        raise AdapterError(
            f"{file} has {key!r:.100}, which belongs to no weight of this model. Give a LoRA for Stable Diffusion 1.5."
        )
    named = match["kohya"] or match["diffusers"] or match["magnitude"] or match["other"]
    return place, named or PEFT_FACTORS[match["peft"]]


def _weight(layer: str, known: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    layer = layer.removeprefix("base_model.model.")
    prefix = next((prefix for prefix in PREFIXES if layer.startswith(prefix)), "")
    layer = layer.removeprefix(prefix).removeprefix("text_model.")
    for old, new in OLD_NAMES:
        layer = old.sub(new, layer)
    parts = [PREFIXES[prefix]] if prefix else ["unet", "text_encoder"]
    return next((known[name] for part in parts if (name := _flat(part, f"{layer}.weight")) in known), None)


def _flat(part: str, name: str) -> str:
    """A weight's name as kohya writes it, which no two weights of a part share."""
    return f"{part}:{name.replace('.', '_')}"
